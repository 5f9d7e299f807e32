"""Finds the shards of a run and takes a first look at them: rows, columns, and whether they are finished."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from glob import has_magic

import pyarrow as pa

from scorer.counted import counted
from scorer.errors import InputError
from scorer.files.filenames import not_utf8
from scorer.files.files import Files, Stat
from scorer.files.local_globs import passed_over, unmatched
from scorer.frozen import dataclass
from scorer.inputs.column_paths import problem, split
from scorer.inputs.formats import is_parquet
from scorer.inputs.formats.content import FIRST_BYTES, content_hint, other_separator
from scorer.inputs.formats.protocol import Contents, Unfinished
from scorer.inputs.identity import contents
from scorer.inputs.kept_types import unkept
from scorer.types import Shard

SETTLED_S = 10.0
"""A file of a format without an end mark counts as finished once it is unchanged for so many seconds."""

_RESULT_COLUMNS = frozenset({"judge", "method", "attempts", "answered_s", "finished_at", "generation"})
"""Columns that a file of results has, and hardly another."""
TOLD_BYTES = 500_000_000
"""A first look at more bytes than these is announced, for it takes seconds."""


def find(files: Files, patterns: Sequence[str], besides: Sequence[str] = ()) -> list[Stat]:
    """The shards that `input.shards` matches, without the files below the folders `besides`.

    Raises InputError where it is none, or where a name is not UTF-8.
    """
    if found := _without(files.find(patterns), besides):
        if odd := [shown for stat in found if (shown := not_utf8(stat.path)) is not None]:
            raise InputError(
                f"{odd[0]} has a name that is not UTF-8{f', and so have {len(odd) - 1} others' if odd[1:] else ''}. "
                "Results name their shard as text: rename the file or its folder. Nothing was sent."
            )
        return found
    raise InputError(
        f"input.shards = {', '.join(patterns)} matches no file. Give files (Parquet, .jsonl, .csv, .arrow), folders of "
        f"them, or globs.{_what_else(patterns)}"
    )


def _without(found: Sequence[Stat], folders: Sequence[str]) -> list[Stat]:
    """The files that are not below one of these folders."""
    if not folders:
        return list(found)
    own = tuple(f"{_real_folder(folder)}/" for folder in folders)
    real = {folder: f"{_real_folder(folder)}/" for folder in {os.path.dirname(stat.path) for stat in found}}
    return [stat for stat in found if not real[os.path.dirname(stat.path)].startswith(own)]


def _real_folder(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def empty_entries(
    files: Files, patterns: Sequence[str], found: Sequence[Stat], forgotten: Collection[str]
) -> list[str]:
    """A sentence for each folder and glob among `patterns` that matches nothing, beside others that do.

    Raises InputError for paths of files that are not there, other than those of `forgotten` shards.
    """
    named = {path for stat in found for path in (stat.path, *stat.also)} | set(forgotten)
    empty = [pattern for pattern in patterns if pattern not in named and not files.find([pattern])]
    missing = [entry for entry in empty if not has_magic(entry) and not os.path.isdir(entry)]
    if missing:
        raise InputError(
            f"input.shards: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there. Correct the path, "
            "or take it out. Nothing was sent."
        )
    return [f"input.shards: {entry} matches no file yet; the next start takes what it matches then." for entry in empty]


def _what_else(patterns: Sequence[str]) -> str:
    """What a folder of this machine holds that is no shard."""
    if (path := unmatched(patterns)) is None:
        return ""
    with open(path, "rb") as file:
        seems = content_hint(path, file.read(FIRST_BYTES))
    return f" {path} has another ending.{f' It looks like {seems}.' if seems else ''}"


def linked(found: Sequence[Stat]) -> str | None:
    """A sentence about files that several paths lead to, which are read once; or None."""
    twice = [
        (stat.path, path) for stat in found for path in stat.also if os.path.abspath(path) != os.path.abspath(stat.path)
    ]
    if not twice:
        return None
    path, link = twice[0]
    return (
        f"{len(twice)} paths lead to files that are matched already, such as {link} to {path}. Each file is read once."
    )


def not_taken(patterns: Sequence[str]) -> list[str]:
    """A sentence for each folder of this machine whose files of other formats are left out for its Parquet files."""
    return [
        f"{folder} stands for its Parquet files; {count:,} of other formats in it are left out, such as {one}. To take "
        f'them, name them: input.shards = ["{folder}", "{one}"].'
        for folder, count, one in passed_over(patterns)
    ]


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The shards that are new, and a sentence for each file that is left out because it is not finished."""

    shards: tuple[Shard, ...]
    left_out: tuple[str, ...] = ()


def first_look(
    files: Files,
    stats: Sequence[Stat],
    names: Mapping[str, str],
    wanted: Sequence[str],
    kept: Sequence[str] = (),
    *,
    where: str | None = None,
    alone: bool = True,
    settled: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> FirstLook:
    """Shards with their rows and marks; `names` are their stems by path, `wanted` the columns they must have.

    `kept` are those of them that the results keep. `where` is `input.where`, for messages. `alone`: there are no other
    shards. Then files that have only just changed are waited for, up to 10 s, with a message to `say`; where nothing is
    left it is an error. Without `settled` such files are taken at once, for an estimate.

    Raises InputError with every mistake in all of them.
    """
    shards: list[Shard] = []
    problems: list[str] = []
    left_out: list[str] = []
    results: list[str] = []
    if alone and settled and (pause_s := _settling_s(stats)):
        say(f"Waiting {pause_s:.0f} s: {stats[0].path} changed just now, and may still be written.")
        time.sleep(pause_s)
    if (size := sum(stat.size for stat in stats if not is_parquet(stat.path))) > TOLD_BYTES:
        say(f"Reading {size / 1e9:.1f} GB once, to count and to hash the rows of files without a footer.")
    for stat in stats:
        try:
            found = contents(files, stat)
            if settled and not found.ended and _changed_s_ago(files, stat) < SETTLED_S:
                raise Unfinished(f"changed within the last {SETTLED_S:.0f} s")
        except Unfinished as error:
            left_out.append(
                f"{stat.path} {error}, so it may still be written. It is left out now; the next start takes it once it "
                "is finished."
            )
            continue
        except InputError as error:
            problems.append(str(error))
            continue
        if _RESULT_COLUMNS.issubset(found.schema.names):
            results.append(stat.path)
        mistakes = _column_mistakes(stat.path, found, wanted, kept, where or "")
        problems += mistakes
        types = "" if mistakes else kept_types(found.schema, kept)
        shards.append(Shard(stat.path, names[stat.path], stat.size, stat.version, found.rows, found.mark, types))
    if alone and left_out and not shards:
        problems += left_out
    if problems:
        raise InputError("\n".join(problems))
    if results:
        say(
            f"The input has {counted(len(results), 'file')} with results of another run, such as {results[0]}. Where "
            "they are not meant, stop, and take them out of input.shards."
        )
    return FirstLook(tuple(shards), tuple(left_out))


def missing_columns(schema: pa.Schema, wanted: Sequence[str]) -> list[str]:
    """Those of `wanted` that a shard does not have."""
    return [name for name in dict.fromkeys(wanted) if name not in schema.names]


def _column_mistakes(
    path: str, found: Contents, wanted: Sequence[str], kept: Sequence[str], condition: str
) -> list[str]:
    """One sentence for each column of the run file that a file lacks."""
    names, mistakes = tuple(found.schema.names), []
    missing = missing_columns(found.schema, kept)
    nested = []
    for column in dict.fromkeys(wanted):
        root, _ = split(column, names)
        if root not in names:
            missing.append(column)
        elif column not in kept and (mistake := problem(column, found.shape)):
            nested.append(f"{path} has {mistake}.")
    if missing:
        mistakes.append(
            f"{path} has no column {', '.join(map(repr, dict.fromkeys(missing)))}, which the run file asks for. It "
            f"has: {', '.join(names[:20])}.{_seems(names)}{_quoted(missing, condition)}"
        )
    mistakes += nested
    if several := [
        root for root in dict.fromkeys(split(column, names)[0] for column in wanted) if names.count(root) > 1
    ]:
        mistakes.append(
            f"{path} has several columns called {', '.join(map(repr, several))}, so that it is unknown "
            "which is meant. Write it again with a name for each."
        )
    mistakes += [
        f"{path}: column {name!r} cannot be kept, since polars reads its name as a pattern. Rename it, or leave it out."
        for name in kept
        if name == "*" or (name.startswith("^") and name.endswith("$"))
    ]
    kinds = {name: found.schema.field(name).type for name in kept if names.count(name) == 1}
    mistakes += [
        f"{path}: column {name!r} is {kind}, and {why}. Leave it out of input.keep, or cast it."
        for name, kind in kinds.items()
        if (why := unkept(kind)) is not None
    ]
    return mistakes


def _quoted(missing: Sequence[str], condition: str) -> str:
    """That SQL takes what stands between double quotes for a column, where a condition has a missing one so."""
    name = next((name for name in missing if f'"{name}"' in condition), None)
    if name is None:
        return ""
    text = name.replace("'", "''")
    return f" In input.where \"{name}\" is a column, as in SQL; a text stands between single quotes: '{text}'."


def _seems(names: Sequence[str]) -> str:
    hint = other_separator(names[0]) if len(names) == 1 else None
    return f" It looks like {hint}." if hint else ""


def kept_types(schema: pa.Schema, kept: Sequence[str]) -> str:
    """A digest of the names and types of the kept columns: result files of equal digests read as one table."""
    return f"{zlib.crc32(str([(name, schema.field(name).type) for name in kept]).encode()):08x}"


def _changed_s_ago(files: Files, stat: Stat) -> float:
    """Seconds since a local file was changed; infinite in a bucket, where files appear whole, and in the future."""
    if "://" in stat.path:
        return float("inf")
    now = next((found for found in files.find([stat.path]) if found.path == stat.path), stat)
    if (now.size, now.version) != (stat.size, stat.version):
        return 0.0
    return _age_s(stat)


def _age_s(stat: Stat) -> float:
    age = time.time() - int(stat.version) / 1e9 if "://" not in stat.path and stat.version.isdigit() else -SETTLED_S
    return age if age > -SETTLED_S else float("inf")


def _settling_s(stats: Sequence[Stat]) -> float:
    """Seconds to wait until the first file is settled, where all of them have only just changed; else 0."""
    texts = [stat for stat in stats if not stat.path.endswith((".parquet", ".arrow", ".arrows", ".feather", ".ipc"))]
    if not texts or len(texts) < len(stats):
        return 0.0
    ages = [_age_s(stat) for stat in texts]
    return max(0.0, SETTLED_S + 0.01 - min(ages)) if max(ages) < SETTLED_S else 0.0
