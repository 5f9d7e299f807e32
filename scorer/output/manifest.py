"""`run.json`: the spec and fingerprint of a run, its shards as first seen, and what retry and reread opened.

Written whole and renamed; read at every start. A resume is refused where the fingerprint or a shard changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from scorer.errors import OutputError, ShardChanged, SpecError
from scorer.files.files import Files, Stat, read
from scorer.files.files import replace as replace_file
from scorer.frozen import dataclass, replace
from scorer.output.layout import Layout
from scorer.output.selection import ALL_ROWS, Selection
from scorer.types import Shard

FORMAT = 2
"""What a start writes. In format 1 the judge's model was the column `model` where no kept column had that name."""
READ = (1, FORMAT)
REHEARSAL = "rehearsal-"
KEEP = "input.keep"


@dataclass(frozen=True, slots=True)
class Revision:
    """A further generation of rows; `errors` are the names it scores again (None: every name).

    `sets` are the keys that a retry changed for its rows, and `judge` is their fingerprint then; empty where it is the
    run's own. With a `span` (microseconds since 1970, from and to) it scores all rows again that were finished in it.
    """

    generation: int
    kind: str
    errors: tuple[str, ...] | None
    open: bool = True
    sets: tuple[str, ...] = ()
    judge: str = ""
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change to a run while it went on: when (ISO 8601, UTC), by whom, and what a key was and then became.

    `key` is `paused`, `limits.concurrency`, `limits.max_usd` or `limits.max_tokens`. It held until that start ended.
    """

    at: str
    who: str
    key: str
    before: float | bool | None
    after: float | bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """A run as stored in `run.json`. `covered` are the keys and values of the fingerprint, to say which changed.

    `id` identifies the run in tables with rows of several runs: the fingerprint changes with a reread, and the folder
    may move. It is empty in a run.json of an earlier version, until the next start. `format` is that of the file that
    was read; a start sets it to FORMAT, and result files of both formats may then be side by side. `forgotten` shards
    are no part of the run (scorer/job/forget.py). Relative paths are relative to `began`, the folder where the run
    began; `home` is where its output was at the last start. Both are empty in a run.json of an earlier version. `kept`
    are the input's columns that the stored results have, None where that is unknown; `edition` counts their changes.
    `deadline` is `limits.deadline` as it was given, and the moment that it meant at the first start, ISO 8601; both are
    empty without one.
    """

    fingerprint: str
    covered: Mapping[str, Any]
    spec: Mapping[str, Any]
    created: str
    shards: tuple[Shard, ...] = ()
    revisions: tuple[Revision, ...] = ()
    id: str = ""
    format: int = FORMAT
    forgotten: tuple[Shard, ...] = ()
    began: str = ""
    home: str = ""
    selection: Selection = ALL_ROWS
    kept: tuple[str, ...] | None = None
    edition: int = 0
    changes: tuple[Change, ...] = ()
    deadline: tuple[str, str] = ("", "")
    questions: tuple[Mapping[str, Any], ...] = ()
    """Each question that `[stop]` asked here: its keys, and the population as it was then."""

    @property
    def rows(self) -> int:
        """The number of selected rows."""
        return sum(self.selection.rows_of(shard) for shard in self.shards)

    @property
    def rehearsal(self) -> bool:
        """True where the scores are simulated: the id says so, in run.json and in every result file."""
        return self.id.startswith(REHEARSAL)

    @property
    def judges(self) -> dict[str, int]:
        """The fingerprints that retries made with other keys, and their generations."""
        return {revision.judge: revision.generation for revision in self.revisions if revision.judge}

    @property
    def open_revision(self) -> Revision | None:
        return next((revision for revision in self.revisions if revision.open), None)

    def opening(self, revision: Revision) -> Manifest:
        """This manifest with the revision open, under the next generation."""
        generation = 1 + max((earlier.generation for earlier in self.revisions), default=0)
        return replace(self, revisions=(*self.revisions, replace(revision, generation=generation)))

    def finished(self, generation: int) -> Manifest:
        """This manifest with that revision closed."""
        closed = tuple(replace(r, open=False) if r.generation == generation else r for r in self.revisions)
        return replace(self, revisions=closed)


class ManifestDamaged(OutputError):
    """run.json cannot be read. `scorer run` may write it again."""


def load(files: Files, layout: Layout) -> Manifest | None:
    """The manifest of an output folder, None where there is none. Raises OutputError where it cannot be read."""
    try:
        data = read(files, layout.manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = orjson.loads(data)
        if found["format"] not in READ:
            raise OutputError(
                f"{layout.manifest} has format {found['format']}, and this version of scorer reads "
                f"{' and '.join(map(str, READ))}. Use the version that made it, or a newer one."
            )
        return Manifest(
            fingerprint=found["fingerprint"],
            covered=found["covered"],
            spec=found["spec"],
            created=found["created"],
            shards=tuple(Shard(**shard) for shard in found["shards"]),
            revisions=tuple(
                Revision(
                    r["generation"],
                    r["kind"],
                    None if r["errors"] is None else tuple(r["errors"]),
                    r["open"],
                    tuple(r.get("sets", ())),
                    r.get("judge", ""),
                    tuple(r["span"]) if r.get("span") else None,
                )
                for r in found["revisions"]
            ),
            id=found.get("id", ""),
            format=found["format"],
            forgotten=tuple(Shard(**shard) for shard in found.get("forgotten", ())),
            began=found.get("began", ""),
            home=found.get("home", ""),
            selection=Selection(**found.get("selection", {})),
            kept=_kept(found),
            edition=found.get("edition", 0),
            changes=tuple(Change(**change) for change in found.get("changes", ())),
            deadline=tuple(found.get("deadline", ("", ""))),
            questions=tuple(found.get("questions", ())),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestDamaged(
            f"{layout.manifest} is damaged ({type(error).__name__}): it says what the scores in this folder are of. "
            "`scorer run` with the same run file makes it anew from the scores that are there, and goes on; or restore "
            "it from a copy."
        ) from error


def _kept(found: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The kept columns of the stored results. Before 0.2.0 they could not change, and are those of the spec."""
    stored = found["kept"] if "kept" in found else found["spec"].get("input", {}).get("keep", ())
    return None if stored is None else tuple(stored)


def no_run(files: Files, layout: Layout) -> SpecError:
    """The error for a folder without run.json, which may have lost it."""
    if files.listing(layout.scores) or files.folders(layout.segments):
        return SpecError(
            [
                f"{layout.manifest} is gone, and {layout.out} holds scores. `scorer run` with the run file that they "
                "were made with makes it anew; or restore it from a copy."
            ]
        )
    return SpecError([f"{layout.out} holds no run: there is no run.json in it. Give the output.path of a run."])


def new_id(*, rehearsal: bool = False) -> str:
    """A new id of 16 hex digits, after the prefix `REHEARSAL` for a rehearsal."""
    return (REHEARSAL if rehearsal else "") + secrets.token_hex(8)


def save(files: Files, layout: Layout, manifest: Manifest) -> None:
    """Writes `run.json`, whole or not at all."""
    data = {"format": manifest.format, **msgspec.to_builtins(manifest)}
    replace_file(files, layout.manifest, orjson.dumps(data, option=orjson.OPT_INDENT_2))


def check_fingerprint(manifest: Manifest, fingerprint: str, covered: Mapping[str, Any], out: str) -> None:
    """Raises OutputError, naming each key that changed, where the folder holds the scores of another run.

    Also where a reread is not finished, since it would mix scores of two reading rules.
    """
    revision = manifest.open_revision
    if revision is not None and revision.kind == "reread":
        raise OutputError(
            f"{out} was being read again, and generation {revision.generation} is not finished. End it first: `scorer "
            f"reread {out}`, with --set judge.key=value where that reading failed."
        )
    if manifest.fingerprint == fingerprint:
        return
    keys = changed_keys(manifest, covered)
    if not keys:
        return
    before, now = _flat(manifest.covered), _flat(covered)
    changes = "; ".join(f"{key} was {_show(before.get(key))} and is now {_show(now.get(key))}" for key in keys)
    raise OutputError(
        f"{out} holds the scores of another run: {changes}. Scores made differently do "
        "not mix in one table: put the old value back, or give this run another output.path."
    )


def changed_keys(manifest: Manifest, covered: Mapping[str, Any]) -> list[str]:
    """The keys that make other scores than the run's. Before 0.2.0 the fingerprint covered `input.keep` too."""
    before, now = _flat(manifest.covered), _flat(covered)
    return [key for key in sorted({*before, *now} - {"input", KEEP}) if before.get(key) != now.get(key)]


def check_shards(known: Sequence[Shard], found: Sequence[Stat], same: Callable[[Shard, Stat], bool]) -> list[Stat]:
    """The files that are new. Raises OutputError for known ones that are gone or changed.

    `same` returns True where a shard of another size or version has the same rows, by its footer.
    """
    by_path = {path: stat for stat in found for path in (stat.path, *stat.also)}
    new = {stat.path: stat for stat in found}
    problems: list[str] = []
    for shard in known:
        stat = by_path.get(shard.path)
        if stat is not None:
            new.pop(stat.path, None)
        if stat is None:
            problems.append(
                f"{shard.path} belongs to this run and is gone, or input.shards no longer matches it. Put it back; or "
                "leave it out of the run: `scorer run RUN.toml --forget SHARD`; or give the run another output.path."
            )
        elif (stat.size, stat.version) != (shard.size, shard.version) and not same(shard, stat):
            problems.append(str(ShardChanged(shard.path, longer=stat.size > shard.size)))
    if problems:
        raise OutputError("\n".join(problems))
    return list(new.values())


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of nested tables with dots; those of the only model as `model.<key>`. Values are as JSON gives them."""
    plain = orjson.loads(orjson.dumps(tree))
    models = plain.pop("models", [])
    named = {"model": models[0]} if len(models) == 1 else {f"models[{n}]": model for n, model in enumerate(models)}
    return dict(_keys({**plain, **named}))


def _keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _show(value: Any) -> str:
    text = "not set" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
