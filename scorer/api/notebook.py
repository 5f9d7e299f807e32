"""The progress of a run in a notebook: Jupyter, VS Code and Colab (IPython display), and marimo. Needs no widgets.

A cell's output can be written from the cell's own thread alone. So snapshots of a run on another thread wait here, and
the thread that waits for the run shows the newest one.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from typing import Any

from scorer.output.progress import Snapshot
from scorer.output.progress_lines import three_lines

WIDTH = 100
"""Columns of the progress in a notebook."""

Show = Callable[[str], None]
"""Shows a text in place of the one that it showed before."""


def notebook_output() -> Show | None:
    """What shows a text in the cell that runs now; None where this process is no notebook's kernel."""
    return _of_marimo() or _of_ipython()


class NotebookProgress:
    """Shows the snapshots of a run in a notebook. `watch` may be called on any thread, `show` on the cell's own."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._waiting: Snapshot | None = None

    def watch(self, snapshot: Snapshot) -> None:
        """Takes a snapshot; one that was not shown yet is dropped."""
        self._waiting = snapshot

    def show(self) -> None:
        """Shows the newest snapshot, where there is a new one."""
        snapshot, self._waiting = self._waiting, None
        if snapshot is not None:
            self._show("\n".join(three_lines(snapshot, WIDTH)))

    def watch_and_show(self, snapshot: Snapshot) -> None:
        """Shows a snapshot at once: for a run in the cell's own loop."""
        self.watch(snapshot)
        self.show()


def _of_ipython() -> Show | None:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):  # IPython on a terminal is no notebook
        return None
    from IPython import display

    show_data: Any = display.display
    handle: Any = None

    def show(text: str) -> None:
        nonlocal handle
        data = {"text/plain": text, "text/html": _as_html(text)}
        if handle is None:
            handle = show_data(data, raw=True, display_id=True)
        else:
            handle.update(data, raw=True)

    return show


def _of_marimo() -> Show | None:
    marimo = sys.modules.get("marimo")
    if marimo is None or not marimo.running_in_notebook():
        return None
    return lambda text: marimo.output.replace(marimo.Html(_as_html(text)))


def _as_html(text: str) -> str:
    return f'<pre style="margin: 0">{html.escape(text)}</pre>'
