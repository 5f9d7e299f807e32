"""Several output folders over the same input as one polars lazy frame: a column of each run for each result column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

import polars as pl

from scorer.errors import SpecError
from scorer.files.files import Files
from scorer.files.router import AnyFiles
from scorer.frozen import dataclass
from scorer.output.layout import Layout
from scorer.output.located import look_for
from scorer.output.manifest import Manifest, load, no_run
from scorer.output.scan import input_names, scan_run
from scorer.output.scan_inputs import INPUT_KEY, scan_inputs
from scorer.output.schema import kept_names
from scorer.types import Shard

_KEY = ["shard", "row"]


@dataclass(frozen=True, slots=True)
class Run:
    """One of the folders. `paths` maps the path of each of its shards to the path that names the shard in the table."""

    name: str
    out: str
    manifest: Manifest
    paths: Mapping[str, str]


def load_runs(folders: Mapping[str, str], files: Files | None = None) -> list[Run]:
    """The runs in these folders, by name, with their shards matched by footer.

    Raises SpecError where a folder holds no run, and where one shares no shard with any other.
    """
    files = files or AnyFiles()
    manifests: dict[str, Manifest] = {}
    for name, out in folders.items():
        manifest = load(files, Layout(out))
        if manifest is None:
            raise no_run(files, Layout(out))
        manifests[name] = manifest
    paths = _matched({name: manifest.shards for name, manifest in manifests.items()})
    problems = []
    for name in manifests:
        others = {path for other in manifests if other != name for path in paths[other].values()}
        if len(manifests) > 1 and manifests[name].shards and not others & set(paths[name].values()):
            problems.append(
                f"{name} ({folders[name]}) has no input file in common with the other folders. Files are matched by "
                "their footer: give runs over the same files."
            )
    if problems:
        raise SpecError(problems)
    return [Run(name, folders[name], manifest, paths[name]) for name, manifest in manifests.items()]


def _matched(shards: Mapping[str, Sequence[Shard]]) -> dict[str, dict[str, str]]:
    """For each run the path of each shard in the table: that of the first run which has a shard of that footer.

    Of several shards with one footer those of one path belong together, the others in their order.
    """
    known: dict[tuple[str, int], list[str]] = {}  # the paths in the table of each footer
    taken: set[str] = set()
    found: dict[str, dict[str, str]] = {}
    for name, own in shards.items():
        keys = {shard.path: (shard.footer or f"path {shard.path}", shard.rows) for shard in own}
        mine = {path: path for path, key in keys.items() if path in known.get(key, ())}
        used = set(mine)
        for path, key in keys.items():
            if path not in mine:
                free = next((other for other in known.get(key, ()) if other not in used), None)
                mine[path] = free or (f"{path} ({name})" if path in taken else path)
                used.add(mine[path])
        for path, key in keys.items():
            if mine[path] not in known.setdefault(key, []):
                known[key].append(mine[path])
        taken |= used
        found[name] = mine
    return found


def scan_folders(folders: Mapping[str, str], join_input: bool = False, *, files: Files | None = None) -> pl.LazyFrame:
    """Everything scored so far in several output folders: one row for each row that has a result in any of them.

    `shard` and `row` name the row, by the path that the first folder has for the shard. `input.id` and `input.keep`
    stand once. Every other result column is `<name>.<column>`; it is null where that folder has no result for the row.
    With `join_input` the input's other columns stand beside them once, as `input_<column>` where a result column has
    the name. Sorted by shard and row. Raises SpecError as `load_runs` does.
    """
    files = files or AnyFiles()
    return scan_runs(load_runs(folders, files), files, join_input)


def scan_runs(runs: Sequence[Run], files: Files, join_input: bool = False) -> pl.LazyFrame:
    """`scan_folders` of runs that are loaded, for the shards that their manifests list."""
    one_id = len({run.manifest.spec.get("input", {}).get("id") for run in runs}) == 1
    scans = [scan_run(files, Layout(run.out), run.manifest) for run in runs]
    schemas = [scan.collect_schema() for scan in scans]
    kept: dict[str, dict[str, pl.DataType]] = {}  # by column: the temporary column of each run, and its type
    frames = []
    for run, scan, schema in zip(runs, scans, schemas, strict=True):
        shown = [name for name in kept_names(schema.names()) if one_id or name != "id"]
        for name in shown:
            kept.setdefault(name, {})[f"\0{run.name}\0{name}"] = schema[name]
        moved = {path: to for path, to in run.paths.items() if path != to}
        frames.append(
            scan.select(
                pl.col("shard").replace(moved) if moved else pl.col("shard"),
                "row",
                *(pl.col(name).alias(f"\0{run.name}\0{name}") for name in shown),
                *(pl.col(name).alias(f"{run.name}.{name}") for name in schema.names() if name not in (*_KEY, *shown)),
            )
        )
    table = reduce(lambda one, other: one.join(other, on=_KEY, how="full", coalesce=True), frames)
    results = dict.fromkeys(name for schema in schemas for name in schema.names() if name not in kept)
    copies = {name for name in kept if name != "id" or runs[0].manifest.spec.get("input", {}).get("id") in ("id", None)}
    columns: dict[str, list[pl.Expr]] = {name: _of_one_type(places) for name, places in kept.items()}
    if join_input and (inputs := scan_inputs(shards_at(runs, files))) is not None:
        given = [name for name in inputs.collect_schema().names() if name not in INPUT_KEY]
        shown_as = input_names([*results, *kept], given, copies)
        again = [name for name in given if name in copies]
        table = table.join(
            inputs.select(
                *(pl.col(key).alias(name) for key, name in zip(INPUT_KEY, _KEY, strict=True)),
                *(pl.col(name).alias(shown) for name, shown in shown_as.items()),
                *(pl.col(name).alias(f"\0input\0{name}") for name in again),
            ),
            on=_KEY,
            how="left",
        )
        for name in again:
            kind = next(iter(kept[name].values())) if len(set(kept[name].values())) == 1 else pl.String()
            columns[name].append(pl.col(f"\0input\0{name}").cast(kind, strict=False))
    temporary = [place for places in kept.values() for place in places]
    table = table.with_columns(pl.coalesce(of).alias(name) for name, of in columns.items()).sort(_KEY)
    names = [name for name in table.collect_schema().names() if not name.startswith("\0") and name not in temporary]
    first = [*_KEY, *kept]
    return table.select(*first, *(name for name in names if name not in first))


def _of_one_type(places: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """The columns that hold one kept column; as texts where the runs differ in its type."""
    if len(set(places.values())) == 1:
        return [pl.col(place) for place in places]
    return [pl.col(place).cast(pl.String) for place in places]


def shards_at(runs: Sequence[Run], files: Files) -> list[Shard]:
    """The shards that can be read now, once each, with their path in the table and the place where they are."""
    found: dict[str, Shard] = {}
    for run in runs:
        for shard in run.manifest.shards:
            path = run.paths[shard.path]
            if path not in found and (at := look_for(files, shard, run.manifest, run.out)).alike:
                found[path] = replace(at.shard, path=path, at=at.shard.place)
    return list(found.values())
