"""Syntax trees of modules, each parsed once in a process: of the whole package that takes a second."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file. Nobody may change it."""
    return ast.parse(path.read_text())
