"""The documentation site: what its build refuses, and the drawing of the layers. scripts/docs builds it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("mkdocs", reason="left out: the extra `docs` is not installed")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import site_hooks

    return site_hooks


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ("<script async src=//cdn.example/x.js></script>", True),
        ('<link rel="stylesheet" href="https://fonts.example/css">', True),
        ('<img alt="" src="http://example/a.png">', True),
        ("body { background: url( 'https://example/a.png') }", True),
        ('@import "https://example/a.css";', True),
        ('<a href="https://example/">an address to go to</a>', False),
        ('<script src="../assets/x.js"></script><img src="data:image/png;base64,AA=="><p>url(https</p>', False),
    ],
)
def test_site_build_refuses_pages_that_request_from_other_hosts(
    text: str, refused: bool, hooks: Any, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(f"<html>{text}</html>")
    config = type("Config", (), {"site_dir": str(tmp_path)})
    if refused:
        with pytest.raises(hooks.PluginError, match=r"page\.html requests something from outside"):
            hooks.on_post_build(config)
    else:
        hooks.on_post_build(config)


@pytest.mark.parametrize(
    ("target", "home", "uri", "wanted"),
    [
        ("docs/how-to/install.md#extras", "CHANGELOG.md", "project/changes.md", "../how-to/install.md#extras"),
        ("../../benchmarks/RESULTS.md", "docs/explanation/limits.md", "explanation/limits.md", "../project/results.md"),
        ("../project/decisions", "docs/how-to/ray.md", "how-to/ray.md", "../project/decisions/index.md"),
        ("#here", "README.md", "index.md", "#here"),
    ],
)
def test_site_links_lead_to_pages_of_the_site(target: str, home: str, uri: str, wanted: str, hooks: Any) -> None:
    assert hooks.link(target, home, uri) == wanted


def test_layer_drawing_shows_every_box_above_what_it_points_to(hooks: Any) -> None:
    text = (ROOT / "docs/project/architecture.md").read_text()
    (chart,) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    arrows = re.findall(r"(\w+) --> (\w+)", chart)
    names = re.findall(r'(\w+)\["', chart)
    drawing = sys.modules["layer_drawing"]
    levels = drawing.levels_of(names, arrows)
    height = {name: at for at, level in enumerate(levels) for name in level}
    assert sorted(height) == sorted(names)
    assert all(height[one] < height[other] for one, other in arrows)
    svg = drawing.svg_of_flowchart(chart)
    assert svg.count("<rect") == len(names)
    assert svg.count("marker-end") == len(arrows)
