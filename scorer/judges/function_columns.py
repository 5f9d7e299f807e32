"""The columns that a judge's function reads of its row: found in its source, or by a call with empty texts."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any


class _Asked(dict[str, str]):
    """A row of empty texts that remembers which columns it was asked for."""

    def __missing__(self, name: str) -> str:
        self[name] = ""
        return ""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


def columns_of(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """The columns that a function reads of its row, in order; None where they cannot be found.

    They are found in its source: `row["name"]` and `row.get("name")` alone may use the row there. Without source, by
    calling it with a row of empty texts.
    """
    node = definition(function)
    if node is not None and node.args.args:
        return _columns(node, node.args.args[0].arg)
    if inspect.isgeneratorfunction(function):
        return None
    asked = _Asked()
    try:
        function(asked)
    except Exception:  # noqa: BLE001 - code of the user's own, tried on a row that it may not expect
        return None
    return tuple(asked) or None


def definition(function: Callable[..., Any]) -> ast.FunctionDef | ast.Lambda | None:
    """The function in its source; of several lambdas on its lines the one with its code."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None:
        return None
    if code.co_name != "<lambda>":
        return next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == code.co_name), None)
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    if len(lambdas) > 1:
        lambdas = [node for node in lambdas if _same_code(node, code)]
    return lambdas[0] if len(lambdas) == 1 else None


def _same_code(node: ast.Lambda, code: CodeType) -> bool:
    compiled = compile(ast.Expression(node), "<lambda>", "eval").co_consts
    mine = next((constant for constant in compiled if isinstance(constant, CodeType)), None)
    return (
        mine is not None
        and (mine.co_code, mine.co_varnames) == (code.co_code, code.co_varnames)
        and [constant for constant in mine.co_consts if not isinstance(constant, CodeType)]
        == [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
    )


def _columns(node: ast.AST, row: str) -> tuple[str, ...] | None:
    found: list[tuple[int, int, str]] = []
    known: set[ast.AST] = set()
    for one in ast.walk(node):
        name: ast.AST | None = None
        if isinstance(one, ast.Subscript) and _is_row(one.value, row):
            name, place = one.slice, one.value
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr == "get" and one.args:
            name, place = one.args[0], one.func.value
        if name is None or not _is_row(place, row):
            continue
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            return None
        found.append((name.lineno, name.col_offset, name.value))
        known.add(place)
    if any(_is_row(one, row) and one not in known for one in ast.walk(node)):
        return None
    return tuple(dict.fromkeys(column for _, _, column in sorted(found))) or None


def _is_row(node: ast.AST, row: str) -> bool:
    return isinstance(node, ast.Name) and node.id == row
