"""What becomes of a file that cannot be read: a segment is moved out of every reader's way, a sealed file is left."""

from __future__ import annotations

from contextlib import suppress

from scorer.errors import OutputError
from scorer.files import Files, read, replace
from scorer.store.layout import Layout
from scorer.store.segments import Broken


def set_aside(files: Files, layout: Layout, path: str) -> None:
    """Keeps the bytes in damaged/ for whoever wants to look; the rows then count as never scored."""
    name = path.removeprefix(f"{layout.out}/").replace("/", "--")
    with suppress(FileNotFoundError):
        replace(files, f"{layout.damaged}/{name}", read(files, path))
    files.delete(path)


def unreadable(files: Files, layout: Layout, error: Broken) -> OutputError:
    """The error to raise; a segment is set aside, so that the same command gets further the next time."""
    if error.path.startswith(f"{layout.scores}/"):  # a whole shard: nobody scores that again unasked
        return OutputError(
            f"{error.path} is damaged. Restore it from a copy; or move it away, and `scorer run` scores its shard "
            "again."
        )
    set_aside(files, layout, error.path)
    return OutputError(
        f"{error.path} is damaged. It is kept in {layout.damaged}, and the same command scores its rows again."
    )
