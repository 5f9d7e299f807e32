"""Hooks of the documentation site (mkdocs.yml): pages from outside docs/, drawings, and no request to other hosts.

mkdocs imports this module and calls its `on_` functions; scripts/docs starts mkdocs.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
from layer_drawing import svg_of_flowchart

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "CHANGELOG.md": "project/changes.md",
    "benchmarks/README.md": "project/benchmark.md",
    "benchmarks/RESULTS.md": "project/results.md",
}
"""Files of the repository that become pages, and where."""
DECISIONS = "project/decisions/index.md"


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages from outside docs/, and the list of decisions."""
    for path, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text()))
    files.append(File.generated(config, DECISIONS, content=decisions()))
    files.append(File.generated(config, "reference/keys.md", content=keys()))
    return files


def decisions() -> str:
    """A page that lists the decision records, newest first."""
    lines = ["# Decisions", "", "What was decided, why, what was rejected, and what follows. Newest first.", ""]
    for path in sorted((ROOT / "docs/project/decisions").glob("*.md"), reverse=True):
        title = path.read_text().partition("\n")[0].removeprefix("# ")
        number, _, what = title.partition(". ")
        lines.append(f"- {number}: [{what}]({path.name})")
    return "\n".join(lines) + "\n"


KEY = re.compile(
    r"^### (?P<names>.*?)\n+\*Default: (?P<default>.*?)\. On resume: (?P<resume>\w+).*?\*\n+"
    r"(?P<text>.*?)(?=\n\n|\n#|\Z)",
    re.MULTILINE | re.DOTALL,
)


def keys() -> str:
    """A page with a line for each key of the run file: default, whether a resume may change it, its first sentence."""
    text = (ROOT / "docs/reference/run-file.md").read_text()
    lines = ["# All keys of the run file", "", "Each key leads to its description in [Run file](run-file.md).", ""]
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        found = [*KEY.finditer(section)]
        if not found:
            continue
        lines += [section.partition("\n")[0], "", "| key | default | on resume | |", "| --- | --- | --- | --- |"]
        for key in found:
            anchor = re.sub(r"[^\w\- ]", "", key["names"]).strip().lower().replace(" ", "-")
            first = re.split(r"(?<=\.)\s", " ".join(key["text"].split()), maxsplit=1)[0].replace("|", "\\|")
            shown = "" if first.startswith(("-", "\\|", "```")) else first
            default = key["default"].replace("|", "\\|")
            lines.append(f"| [{key['names']}](run-file.md#{anchor}) | {default} | {key['resume']} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links to other pages of the site, and its flowcharts drawn.

    A search shows reference pages first and records of work last.
    """
    boost = {"project": 0.2, "reference": 2}.get(page.file.src_uri.partition("/")[0], 1)
    page.meta["search"] = {"boost": boost}
    home = next((path for path, uri in OUTSIDE.items() if uri == page.file.src_uri), f"docs/{page.file.src_uri}")
    markdown = re.sub(r"```mermaid\n(.*?)```", lambda found: svg_of_flowchart(found[1]), markdown, flags=re.DOTALL)
    return re.sub(r"(?<=\]\()([^)\s]+)(?=\))", lambda found: link(found[1], home, page.file.src_uri), markdown)


def link(target: str, home: str, uri: str) -> str:
    """A link of the file `home`, as the page `uri` of the site needs it."""
    if target.startswith(("https://", "#")):
        return target
    path, sharp, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(home), path))
    if path == "docs/project/decisions":
        path = f"docs/{DECISIONS}"
    inside = OUTSIDE.get(path, path.removeprefix("docs/"))
    return os.path.relpath(inside, os.path.dirname(uri)) + sharp + anchor


REQUESTS = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:@import|url\()\s*["']?(?:https?:)?//[^"'\s)]+"""
)
"""What makes a browser request something from another host when it shows a page."""


def on_post_build(config: Any) -> None:
    """Raises PluginError where a built page would request something from another host."""
    for path in Path(config.site_dir).rglob("*"):
        if path.suffix in (".html", ".css") and (found := REQUESTS.search(path.read_text())):
            raise PluginError(f"{path.relative_to(config.site_dir)} requests something from outside: {found[0][:200]}")
