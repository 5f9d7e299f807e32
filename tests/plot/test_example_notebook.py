"""Promise: the cells of the example notebook run on the bundled sample, and end in charts and tables."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/examples/charts.ipynb"


@pytest.mark.slow
def test_cells_of_the_example_notebook_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: a rehearsal. Without a kernel, which `tests/soak/test_notebook_in_a_kernel.py` has."""
    altair = pytest.importorskip("altair", reason="left out: altair is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown: list[Any] = []
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert not cell.get("outputs"), "stored without outputs"
        if cell["cell_type"] == "code":
            *before, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(before, []), "cell", "exec"), names)
            assert isinstance(last, ast.Expr)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    assert sum(isinstance(one, altair.TopLevelMixin) for one in shown) == 6
    assert len(shown) == 11
    assert all(hasattr(one, "_repr_html_") or isinstance(one, altair.TopLevelMixin) for one in shown)
    assert (tmp_path / "report.html").stat().st_size > 10_000
