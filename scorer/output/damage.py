"""Damaged files: recorded by the reader that finds them, moved to damaged/ by the next start, never deleted.

A sealed file is not opened by a start, so that resuming does not grow; a start only reads the note. It looks at those
files again before it believes it (scorer/job/recovery.py): somebody may have restored them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import orjson

from scorer.errors import OutputError
from scorer.files.filenames import NAME_BYTES, short_name
from scorer.files.files import Files, copy, read, replace
from scorer.output.layout import Layout
from scorer.output.segments import Broken


class SetAside(OutputError):
    """A segment could not be read, and is set aside: its rows are as if they had never been scored. `path` it was."""

    def __init__(self, layout: Layout, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is damaged. It is kept in {layout.damaged}, and its rows are scored again.")


def set_aside(files: Files, layout: Layout, path: str) -> None:
    """Keeps the bytes in damaged/ for whoever wants to look; the rows then count as never scored."""
    name = short_name(path.removeprefix(f"{layout.out}/").replace("/", "--"), NAME_BYTES - 8)  # a number may follow
    taken = {stat.path for stat in files.listing(layout.damaged)}
    kept, again = f"{layout.damaged}/{name}", 0
    while kept in taken:
        again += 1
        kept = f"{layout.damaged}/{name}.{again}"
    with suppress(FileNotFoundError):
        copy(files, path, kept)
    files.delete(path)


def unreadable(files: Files, layout: Layout, error: Broken) -> OutputError:
    """The error to raise. A segment is set aside at once; a sealed file, a whole shard's scores, is noted."""
    if not error.path.startswith(f"{layout.scores}/"):
        set_aside(files, layout, error.path)
        return SetAside(layout, error.path)
    note(files, layout, [*noted(files, layout), error.path])
    return OutputError(
        f"{error.path} is damaged. Restore it from a copy; or `scorer run`, with the run file, sets it aside and "
        "scores again those of its rows that cannot be read."
    )


def note(files: Files, layout: Layout, paths: Iterable[str]) -> None:
    """Notes which files are damaged, instead of what was noted before; nothing is noted where none is."""
    names = sorted({path.removeprefix(f"{layout.out}/") for path in paths})
    if names:
        replace(files, layout.noted, orjson.dumps({"damaged": names}, option=orjson.OPT_INDENT_2))
    else:
        with suppress(FileNotFoundError), files.open(layout.noted):
            files.delete(layout.noted)


def noted(files: Files, layout: Layout) -> list[str]:
    """The files that were noted as damaged. A note that cannot be read says nothing: `verify` writes it anew."""
    try:
        found = orjson.loads(read(files, layout.noted))
        return [f"{layout.out}/{name}" for name in found["damaged"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError):
        return []
