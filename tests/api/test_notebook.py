"""Promise: in a notebook a run shows its progress in its cell; outside of one it shows nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import scorer
from scorer.api.notebook import NotebookProgress, notebook_output
from scorer.output.progress import Snapshot

SNAPSHOT = Snapshot("running", 1, 0.0, 10, 0, 4, 4, {}, 2.0, 100.0, None, 0.5, 0.0, 1, {}, None)


def recorded(folder: Path) -> dict[str, Any]:
    """A run of two rows that a recorded judge answers."""
    pl.DataFrame({"x": [1, 2], "text": ["a", "<b>"]}).write_parquet(folder / "in.parquet")
    pl.DataFrame({"x": [1, 2], "reply": ["Score: 3", "Score: 4"]}).write_parquet(folder / "replies.parquet")
    return {
        "input": {"shards": [str(folder / "in.parquet")]},
        "judge": {"prompt": "{text} Score from 1 to 5?"},
        "model": {"provider": "recorded", "path": str(folder / "replies.parquet"), "keys": ["x"], "replies": "reply"},
        "output": {"path": str(folder / "out")},
    }


def test_notebook_output_is_none_outside_of_a_notebook() -> None:
    assert notebook_output() is None


def test_notebook_progress_shows_the_newest_snapshot_once() -> None:
    shown: list[str] = []
    progress = NotebookProgress(shown.append)
    progress.watch(SNAPSHOT)
    progress.watch(SNAPSHOT)
    assert shown == []
    progress.show()
    progress.show()
    (text,) = shown
    assert "4 of 10 rows" in text
    progress.watch_and_show(SNAPSHOT)
    assert len(shown) == 2


def test_notebook_output_in_marimo_replaces_the_output_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for marimo's three functions; by hand the real one was used."""
    replaced: list[str] = []
    output = SimpleNamespace(replace=replaced.append)
    marimo = SimpleNamespace(running_in_notebook=lambda: True, Html=str, output=output)
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    show = notebook_output()
    assert show is not None
    show("1 < 2")
    assert replaced == ['<pre style="margin: 0">1 &lt; 2</pre>']
    marimo.running_in_notebook = lambda: False
    assert notebook_output() is None


CELLS = """
import scorer
tree = {tree}
result = scorer.run(tree)
---
print(result.state, result.path == tree["output"]["path"], result.scores.collect()["score"].to_list())
---
again = await scorer.run_async(tree, set={{"output.path": "again"}})
---
quiet = scorer.run(tree, set={{"output.path": "quiet"}}, progress=False)
---
seen = []
watched = scorer.run(tree, set={{"output.path": "watched"}}, watch=seen.append)
print(seen[-1].state)
---
scorer.judge(lambda row: f"Rate {{row['text']}}.", float)["columns"]
"""


@pytest.mark.slow
def test_a_run_in_a_real_ipython_kernel_shows_its_progress_in_the_cell(tmp_path: Path) -> None:
    """Slow: starts an IPython kernel."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = CELLS.format(tree=recorded(tmp_path)).split("---\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    patience = dict.fromkeys(("timeout", "startup_timeout", "iopub_timeout"), 120)
    nbclient.NotebookClient(notebook, kernel_name="python3", **patience).execute(cwd=str(tmp_path), env=environment)
    ran, printed, awaited, quiet, watched, judged = [cell.outputs for cell in notebook.cells]
    for outputs in (ran, awaited):
        (one,) = [output for output in outputs if output.output_type == "display_data"]
        assert "2 of 2 rows" in one.data["text/plain"]
        assert one.data["text/html"].startswith("<pre")
    assert printed[0].text == "complete True [3.0, 4.0]\n"
    assert quiet == []
    assert [output.get("text") for output in watched] == ["complete\n"]
    assert judged[0].data["text/plain"] == "['text']"


def test_a_run_outside_of_a_notebook_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert scorer.run(recorded(tmp_path), progress=True).state == "complete"
    assert capfd.readouterr() == ("", "")
