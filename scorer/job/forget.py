"""Removes shards from a run and adds them again: `scorer run RUN.toml --forget SHARD`, `--remember SHARD`.

The result files of a forgotten shard move to OUT/forgotten/. Nothing is deleted, and their costs stay in the ledger.
run.json is written before files are moved away and after they are moved back. So after a crash the next start either
finds all files of a shard, or moves the remaining ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Literal

import orjson

from scorer.errors import OutputError, SpecError
from scorer.files.files import Files, Stat, copy, read, replace
from scorer.frozen import dataclass
from scorer.inputs.sample import parse_sample
from scorer.output import segments as seg
from scorer.output.layout import Layout, stems
from scorer.types import Shard


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows a start asks for: shards to `forget` and to `remember`, and a `sample` of rows (None: all).

    A shard is named by its path in run.json, another path to it, its stem or file name. A sample is "100" (rows) or
    "1%" of them. `waiting` says whether it waits for provider batches: "no-wait" submits and collects once, "collect"
    collects once and submits nothing. `accept_drift` takes a judge that has left its band as it is now.
    """

    forget: tuple[str, ...] = ()
    remember: tuple[str, ...] = ()
    sample: str | None = None
    waiting: Literal["wait", "no-wait", "collect"] = "wait"
    accept_drift: bool = False

    def __post_init__(self) -> None:
        """Raises SpecError for a wrong sample: before a start writes anything."""
        if self.sample is not None:
            parse_sample(self.sample)


ALL = Choice()
"""Forgets and remembers nothing."""


def forget(
    names: Sequence[str], known: Sequence[Shard], gone: Sequence[Shard], found: Sequence[Stat]
) -> tuple[tuple[Shard, ...], tuple[Shard, ...]]:
    """The shards of the run and the forgotten shards after those in `names` have left the run.

    A shard that was forgotten before stays so. `names` may include a file of `found` that the run never read. Raises
    SpecError for a name that matches no shard or several.
    """
    taken = {shard.path for shard in (*known, *gone)}
    unread = [stat for stat in found if stat.path not in taken]
    names_of = stems([stat.path for stat in unread], {shard.stem: shard.path for shard in (*known, *gone)})
    never_read = [Shard(stat.path, names_of[stat.path], stat.size, stat.version, 0, "") for stat in unread]
    leaving = _named(names, (*known, *gone, *never_read), "--forget")
    paths = {shard.path for shard in leaving}
    stay = tuple(shard for shard in known if shard.path not in paths)
    return stay, (*gone, *(shard for shard in leaving if shard not in gone))


def remember(
    files: Files, layout: Layout, names: Sequence[str], known: Sequence[Shard], gone: Sequence[Shard], fingerprint: str
) -> tuple[tuple[Shard, ...], tuple[Shard, ...]]:
    """The shards of the run and the forgotten shards after those in `names` have come back; moves their files.

    A shard that is not forgotten stays as it is. Raises OutputError for damaged files, and for results of another
    fingerprint than the run has now.
    """
    back = [shard for shard in _named(names, (*gone, *known), "--remember") if shard in gone]
    for shard in back:
        for old, new in _files_of(files, layout, shard, back=True):
            try:
                with seg.broken(old):
                    about, _ = seg.read_about(files, old)
            except seg.Broken as error:
                raise OutputError(
                    f"{old} is damaged. Restore it from a copy, or move it away to score its rows again."
                ) from error
            if about.get("fingerprint", fingerprint) != fingerprint:
                raise OutputError(
                    f"{shard.path} was scored before the run's options changed and cannot come back: {old} has the "
                    f"fingerprint {about['fingerprint']}, the run {fingerprint}. Score it in another run."
                )
            _move(files, old, new)
        files.delete(_note(layout, shard))
    return (*known, *(shard for shard in back if shard.footer)), tuple(shard for shard in gone if shard not in back)


def set_aside_shard(files: Files, layout: Layout, gone: Iterable[Shard]) -> None:
    """Moves the result files of forgotten shards to OUT/forgotten/. Call it after run.json lists them as forgotten."""
    noted = {stat.path for stat in files.listing(layout.forgotten)}
    for shard in gone:
        if (note := _note(layout, shard)) not in noted:
            replace(files, note, orjson.dumps(asdict(shard), option=orjson.OPT_INDENT_2))
        for old, new in _files_of(files, layout, shard, back=False):
            _move(files, old, new)


def forgotten_before(files: Files, layout: Layout) -> tuple[Shard, ...]:
    """The forgotten shards by the files in OUT/forgotten/, for rebuilding run.json."""
    notes = [stat.path for stat in files.listing(layout.forgotten) if stat.path.endswith(".json")]
    return tuple(Shard(**orjson.loads(read(files, path))) for path in notes)


def _named(names: Sequence[str], shards: Sequence[Shard], option: str) -> list[Shard]:
    found, problems = [], []
    for name in dict.fromkeys(names):
        chosen = [shard for shard in shards if shard.path == name]
        chosen = chosen or [shard for shard in shards if _place(shard.path) == _place(name)]
        chosen = chosen or [shard for shard in shards if name in (shard.stem, shard.path.rpartition("/")[2])]
        if len(chosen) == 1:
            found += chosen
        elif chosen:
            problems.append(f"{option} {name} matches {len(chosen)} shards: give one of their paths.")
        else:
            known = ", ".join(shard.path for shard in shards[:10]) or "none"
            more = f" and {len(shards) - 10} more" if len(shards) > 10 else ""
            problems.append(f"{option} {name} matches no shard of this run. Its shards: {known}{more}.")
    if problems:
        raise SpecError(problems)
    return found


def _place(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _note(layout: Layout, shard: Shard) -> str:
    return f"{layout.forgotten}/{shard.stem}.json"


def _files_of(files: Files, layout: Layout, shard: Shard, *, back: bool) -> list[tuple[str, str]]:
    """The current path and the new path of each result file of a shard."""
    sealed, segments = layout.sealed(shard.stem), layout.segment_folder(shard.stem)
    away, parts = f"{layout.forgotten}/{shard.stem}.parquet", f"{layout.forgotten}/{shard.stem}"
    pairs = [(sealed, away)] if not back else [(away, sealed)]
    old, new = (parts, segments) if back else (segments, parts)
    pairs += [(stat.path, f"{new}/{stat.path.rpartition('/')[2]}") for stat in files.listing(old)]
    there = {stat.path for folder in (layout.scores, layout.forgotten, old) for stat in files.listing(folder)}
    return [pair for pair in pairs if pair[0] in there]


def _move(files: Files, old: str, new: str) -> None:
    copy(files, old, new)
    files.delete(old)
