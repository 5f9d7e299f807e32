"""Finds shards whose path changed, by their size and footer.

Its recorded path stays its name in every result. It is looked for where it was last, where that path leads from the
folder in which the run began, and where it leads if input and output were moved together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from scorer.errors import InputError
from scorer.files.files import Files, Stat
from scorer.frozen import dataclass, replace
from scorer.inputs.identity import look, same_rows
from scorer.output.manifest import Manifest, check_shards
from scorer.types import Shard


@dataclass(frozen=True, slots=True)
class Found:
    """A shard with the place where it is. `there`: a file is; `same`: it holds the rows that the run knows.

    `alike`: it has as many rows, and may be the same file written again, with a column more.
    """

    shard: Shard
    there: bool = False
    same: bool = False
    alike: bool = False


def look_for(files: Files, shard: Shard, manifest: Manifest, out: str) -> Found:
    """Where a shard of the run in folder `out` is; the first place that holds the same rows."""
    other: tuple[Shard, Stat] | None = None
    for place in _places(shard, manifest, out):
        stats = [stat for stat in files.find([place]) if stat.path == place]
        placed = replace(shard, at=_at(place, shard.path))
        if stats and same_rows(files, shard, stats[0]):
            return Found(placed, there=True, same=True, alike=True)
        if stats and other is None:
            other = placed, stats[0]
    if other is None:
        return Found(shard)
    try:
        return Found(other[0], there=True, alike=look(files, other[1])[0] == shard.rows)
    except InputError:
        return Found(other[0], there=True)


def matched(
    files: Files, known: Sequence[Shard], began: str, found: Sequence[Stat]
) -> tuple[tuple[Shard, ...], list[Stat]]:
    """The known shards at the places where `input.shards` finds them now, and the files that are new.

    A shard is found by its place, else by its recorded path, else by its footer. Raises OutputError for shards that
    are gone or changed.
    """
    looked: dict[tuple[str, str], bool] = {}  # a file without a footer is read as a whole where its time differs

    def same(shard: Shard, stat: Stat) -> bool:
        key = shard.path, stat.path
        if key not in looked:
            looked[key] = same_rows(files, shard, stat)
        return looked[key]

    by_name = {name: stat for stat in found for name in (stat.path, *stat.also)}
    by_place = {_absolute(name): stat for name, stat in by_name.items()}
    taken: dict[str, Stat] = {}
    for shard in known:
        places = (by_place.get(shard.at or _absolute(shard.path, began)), by_name.get(shard.path))
        likely = [stat for stat in places if stat is not None]
        stat = next((stat for stat in likely if same(shard, stat)), likely[0] if likely else None)
        if stat is not None:
            taken[shard.path] = stat
    at_once = {stat.path for stat in taken.values()}
    free = [stat for stat in found if stat.path not in at_once]
    for shard in known:
        if shard.path not in taken or not same(shard, taken[shard.path]):
            moved = next((stat for stat in free if stat.size == shard.size and same(shard, stat)), None)
            if moved is not None:
                taken[shard.path] = moved
                free.remove(moved)

    check_shards(
        known,
        [replace(stat, path=path, also=()) for path, stat in taken.items()],
        lambda shard, _: same(shard, taken[shard.path]),
    )
    held = {stat.path for stat in taken.values()}
    placed = tuple(
        replace(shard, at=_at(taken[shard.path].path, shard.path), version=taken[shard.path].version) for shard in known
    )
    return placed, [stat for stat in found if stat.path not in held]


def without(files: Files, gone: Sequence[Shard], began: str, found: Sequence[Stat]) -> list[Stat]:
    """The files that are none of the shards `gone`, by whatever path they are found now."""
    if not gone:
        return list(found)
    places = {shard.at or _absolute(shard.path, began) for shard in gone} | {shard.path for shard in gone}
    sizes: dict[int, list[Shard]] = {}
    for shard in gone:
        sizes.setdefault(shard.size, []).append(shard)
    return [
        stat
        for stat in found
        if not places & {name for given in (stat.path, *stat.also) for name in (given, _absolute(given))}
        and not any(shard.footer and same_rows(files, shard, stat) for shard in sizes.get(stat.size, ()))
    ]


def kept(shards: Sequence[Shard], began: str) -> tuple[Shard, ...]:
    """The shards as run.json keeps them: `at` is an absolute path, and empty where the recorded path leads there."""
    return tuple(
        replace(shard, at="" if _absolute(shard.place) == _absolute(shard.path, began) else _absolute(shard.place))
        for shard in shards
    )


def rebased(patterns: Sequence[str], began: str) -> list[str]:
    """Patterns of `input.shards` that mean the same from the current folder as from the one where the run began."""
    if not began or began == os.getcwd():
        return list(patterns)
    return [_absolute(pattern, began) for pattern in patterns]


def _places(shard: Shard, manifest: Manifest, out: str) -> list[str]:
    places = [shard.at, shard.path]
    if "://" not in shard.path:
        whole = shard.at or _absolute(shard.path, manifest.began)
        places = [shard.at, whole if manifest.began else "", shard.path]
        if manifest.home and "://" not in out:
            beside = os.path.relpath(whole, manifest.home)
            places.append(os.path.normpath(os.path.join(os.path.abspath(out), beside)))
    return list(dict.fromkeys(place for place in places if place))


def _at(place: str, path: str) -> str:
    return "" if place == path else place


def _absolute(path: str, folder: str = "") -> str:
    if "://" in path:
        return path
    path = os.path.expanduser(path)
    return os.path.normpath(os.path.join(folder or os.getcwd(), path))
