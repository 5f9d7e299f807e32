"""Damaged files: recorded by the reader that finds them, moved to damaged/ by the next start, never deleted.

A start opens no sealed file, so that its time does not grow with the rows. It reads the record of damaged files, and
checks these again (scorer/job/recovery.py), because they may have been restored.
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
    """An unreadable segment was moved to damaged/: its rows count as never scored. `path` is where it was."""

    def __init__(self, layout: Layout, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is damaged. It is kept in {layout.damaged}, and its rows are scored again.")


def set_aside(files: Files, layout: Layout, path: str) -> None:
    """Moves a file to damaged/. Its rows then count as never scored."""
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
    """The error for an unreadable file. A segment is set aside at once; a sealed file is recorded."""
    if not error.path.startswith(f"{layout.scores}/"):
        set_aside(files, layout, error.path)
        return SetAside(layout, error.path)
    note(files, layout, [*noted(files, layout), error.path])
    return OutputError(
        f"{error.path} is damaged. Restore it from a copy; or `scorer run`, with the run file, sets it aside and "
        "scores again those of its rows that cannot be read."
    )


def note(files: Files, layout: Layout, paths: Iterable[str]) -> None:
    """Records the damaged files, in place of the last record. Without any, the record is deleted."""
    names = sorted({path.removeprefix(f"{layout.out}/") for path in paths})
    if names:
        replace(files, layout.noted, orjson.dumps({"damaged": names}, option=orjson.OPT_INDENT_2))
    else:
        with suppress(FileNotFoundError), files.open(layout.noted):
            files.delete(layout.noted)


def noted(files: Files, layout: Layout) -> list[str]:
    """The recorded damaged files. Empty where the record cannot be read: `verify` writes it again."""
    try:
        found = orjson.loads(read(files, layout.noted))
        return [f"{layout.out}/{name}" for name in found["damaged"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError):
        return []
