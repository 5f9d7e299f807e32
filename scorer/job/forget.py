"""Removes shards from a run and adds them again: `scorer run RUN.toml --forget SHARD`, `--remember SHARD`.

The rows of a forgotten shard move to OUT/forgotten/, nothing is deleted, and what they cost stays in the ledger. The
order of the steps makes a crash harmless: run.json is written before files are moved away, and after they are moved
back, so the next start finds either all of a shard, or what is left to move.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import orjson

from scorer.errors import OutputError, SpecError
from scorer.files.files import Files, Stat, read, replace
from scorer.output import segments as seg
from scorer.output.layout import Layout, stems
from scorer.types import Shard


@dataclass(frozen=True, slots=True)
class Choice:
    """Shards that a start is to `forget` and to `remember`, named as in run.json, by any path to them, or by file."""

    forget: tuple[str, ...] = ()
    remember: tuple[str, ...] = ()


ALL = Choice()
"""Nothing changes."""


def forget(
    names: Sequence[str], known: Sequence[Shard], gone: Sequence[Shard], found: Sequence[Stat]
) -> tuple[tuple[Shard, ...], tuple[Shard, ...]]:
    """The shards of the run and the forgotten ones, once those named have left. Nothing where they have left before.

    A file of `found` that the run never read can be named too. Raises SpecError for a name of no shard, or of several.
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
    """The same once those named have come back, their files moved. Nothing where they were never forgotten.

    Raises OutputError for rows of another fingerprint than the run has by now.
    """
    back = [shard for shard in _named(names, (*gone, *known), "--remember") if shard in gone]
    for shard in back:
        for old, new in _files_of(files, layout, shard, back=True):
            try:
                with seg.broken(old):
                    about, _ = seg.read_about(files, old)
            except seg.Broken as error:
                raise OutputError(
                    f"{old} is damaged. Restore it from a copy; or move it away, and its rows are scored again."
                ) from error
            if about.get("fingerprint", fingerprint) != fingerprint:
                raise OutputError(
                    f"{shard.path} was scored before the run's reading changed, and cannot come back: {old} has the "
                    f"fingerprint {about['fingerprint']}, the run {fingerprint}. Score it in a run of its own."
                )
            _move(files, old, new)
        files.delete(_note(layout, shard))
    return (*known, *(shard for shard in back if shard.footer)), tuple(shard for shard in gone if shard not in back)


def set_aside_shard(files: Files, layout: Layout, gone: Iterable[Shard]) -> None:
    """Moves what there is of forgotten shards to OUT/forgotten/. Call it after run.json says that they are."""
    noted = {stat.path for stat in files.listing(layout.forgotten)}
    for shard in gone:
        if (note := _note(layout, shard)) not in noted:
            replace(files, note, orjson.dumps(asdict(shard), option=orjson.OPT_INDENT_2))
        for old, new in _files_of(files, layout, shard, back=False):
            _move(files, old, new)


def forgotten_before(files: Files, layout: Layout) -> tuple[Shard, ...]:
    """The shards that OUT/forgotten/ says were forgotten, for a run.json that is made anew."""
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
            problems.append(f"{option} {name} is the name of {len(chosen)} shards: give one of their paths.")
        else:
            known = ", ".join(shard.path for shard in shards[:10]) or "none"
            more = f" and {len(shards) - 10} more" if len(shards) > 10 else ""
            problems.append(f"{option} {name} is no shard of this run. Its shards: {known}{more}.")
    if problems:
        raise SpecError(problems)
    return found


def _place(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _note(layout: Layout, shard: Shard) -> str:
    return f"{layout.forgotten}/{shard.stem}.json"


def _files_of(files: Files, layout: Layout, shard: Shard, *, back: bool) -> list[tuple[str, str]]:
    """Each result file of a shard and where it goes."""
    sealed, segments = layout.sealed(shard.stem), f"{layout.segments}/{shard.stem}"
    away, parts = f"{layout.forgotten}/{shard.stem}.parquet", f"{layout.forgotten}/{shard.stem}"
    pairs = [(sealed, away)] if not back else [(away, sealed)]
    old, new = (parts, segments) if back else (segments, parts)
    pairs += [(stat.path, f"{new}/{stat.path.rpartition('/')[2]}") for stat in files.listing(old)]
    there = {stat.path for folder in (layout.scores, layout.forgotten, old) for stat in files.listing(folder)}
    return [pair for pair in pairs if pair[0] in there]


def _move(files: Files, old: str, new: str) -> None:
    with files.open(old) as source, files.create(new) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    files.delete(old)
