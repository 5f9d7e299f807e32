"""Promise: the example notebook of docs/examples runs in a real kernel, and shows its charts and tables.

`tests/plot/test_example_notebook.py` runs its cells without one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/examples/charts.ipynb"


@pytest.mark.slow
def test_example_notebook_shows_its_charts_in_a_kernel(tmp_path: Path) -> None:
    """Slow: starts an IPython kernel and a rehearsal."""
    for name in ("altair", "nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f"left out: {name} is not installed")
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "stored without outputs"
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    client = nbclient.NotebookClient(notebook, timeout=120, startup_timeout=120, kernel_name="python3")
    manager = client.create_kernel_manager()
    # Not the ports that the manager finds free and the kernel binds a second later: others take them in between.
    manager.transport, manager.ip = "ipc", f"{os.environ['XDG_RUNTIME_DIR']}/kernel"
    client.execute(cwd=str(tmp_path), env=environment)
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "execute_result"
    ]
    charts = [text for text in shown if "vega" in text]
    drawn = [cell for cell in notebook.cells if "scorer.plot." in cell.source and cell.cell_type == "code"]
    assert len(charts) == len(drawn) == 6
    assert len(shown) == 11, "the plan, the run, the leaderboard, the rows and the report are tables"
    assert (tmp_path / "report.html").stat().st_size > 10_000
