"""Functions of a judge: how they are named, found again and fingerprinted.

A function of an importable module is named `module:name`. One of a session (a notebook, a script, a lambda) is named
`session:name#hash` and is known to its process alone.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType
from typing import Any

from scorer.errors import SpecError
from scorer.judges.function_columns import definition
from scorer.plugins import found

SESSION = "session:"
_KNOWN: dict[str, Callable[..., Any]] = {}
"""The functions of this process by their names."""
_PLAIN = (str, bytes, int, float, bool, type(None))


def reference(function: Callable[..., Any]) -> str:
    """The name of a function for a run file. The function is registered, and this process finds it by that name.

    A name that its module does not have yet, as while the module is loaded, is taken for the function's.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    given = f"{SESSION}{name}#{source_of(function)}"
    if module and module != "__main__" and "<" not in name and _at(sys.modules.get(module), name) in (function, None):
        given = f"{module}:{name}"
    _KNOWN[given] = function
    return given


def resolved(target: str, key: str) -> Callable[..., Any]:
    """The function of a name. Raises SpecError where it cannot be imported, or belongs to a session that has ended."""
    if target in _KNOWN:
        return _KNOWN[target]
    if target.startswith(SESSION):
        raise SpecError(
            [
                f'{key} = "{target}" is a function of another Python session. Define it again by scorer.judge(...) in '
                "this one, or put it into a module that can be imported, which workers and later commands need."
            ]
        )
    module, _, name = target.partition(":")
    first, _, rest = name.partition(".")
    function: Any = found(f"{module}:{first}", key)
    function = _at(function, rest) if rest else getattr(function, "prompt_function", function)
    if not callable(function):
        raise SpecError([f'{key} = "{target}" is no function.'])
    return function  # type: ignore[no-any-return]


def _at(module: Any, name: str) -> Any:
    """The object of a dotted name in a module, None where it has none; what a decorated function wraps."""
    for part in name.split("."):
        module = getattr(module, part, None)
    return getattr(module, "prompt_function", module)


def source_of(*functions: Callable[..., Any]) -> str:
    """16 hex digits of the functions' source, and of their defaults and what they close over as far as that is fixed.

    Plain values, tuples and frozen sets of them, compiled patterns, enum members, functions (by the same rule; those
    that are built in by name) and classes (by name) are fixed. A list, a dict and any other object may change while the
    judge is used, and is not covered; nor is a global name, or what a function calls. Where no source is kept (a plain
    interactive session), the compiled code counts.
    """
    parts = [part for function in functions for part in _parts(function, [])]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _parts(function: Callable[..., Any], seen: list[Callable[..., Any]]) -> Iterator[str]:
    """What counts of a function. Of one that was `seen` before, which may be within its own values, its number."""
    if function in seen:
        yield str(seen.index(function))
        return
    seen.append(function)
    try:
        yield _source(function)
    except (OSError, TypeError):
        yield from _compiled(getattr(function, "__code__", None))
    yield repr(list(_fixed(_values(function), seen)))


def _source(function: Callable[..., Any]) -> str:
    """Its lines, and of several lambdas on them its own part. Raises OSError and TypeError where no source is kept."""
    lines = textwrap.dedent(inspect.getsource(function))
    if getattr(function, "__name__", "") != "<lambda>" or lines.count("lambda") < 2:
        return lines
    own = definition(function)
    return "\0".join([lines, *([ast.unparse(own)] if own is not None else _compiled(function.__code__))])


def _compiled(code: CodeType | None) -> Iterator[str]:
    if code is None:
        return
    yield repr((code.co_code, code.co_names))
    for constant in code.co_consts:
        yield from _compiled(constant) if isinstance(constant, CodeType) else (repr(constant),)


def _values(function: Callable[..., Any]) -> list[Any]:
    """The defaults of a function, and what it closes over."""
    values: list[Any] = list(getattr(function, "__defaults__", None) or ())
    values += sorted((getattr(function, "__kwdefaults__", None) or {}).items())
    for cell in getattr(function, "__closure__", None) or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not filled yet: the function itself
            continue
    return values


def _fixed(values: Iterable[Any], seen: list[Callable[..., Any]]) -> Iterator[Any]:
    """Those of the values that cannot change, in a form whose `repr` is the same in every process."""
    for value in values:
        if isinstance(value, Enum):
            yield f"{type(value).__qualname__}.{value.name}", *_fixed([value.value], seen)
        elif isinstance(value, _PLAIN):
            yield value
        elif isinstance(value, tuple):
            yield tuple(_fixed(value, seen))
        elif isinstance(value, frozenset):
            # Each by itself, for their order is another in each process.
            yield sorted(repr(part) for one in value for part in _fixed([one], [*seen]))
        elif isinstance(value, re.Pattern):
            yield value.pattern, value.flags
        elif isinstance(value, type):
            yield f"{value.__module__}.{value.__qualname__}"
        elif isinstance(value, BuiltinFunctionType | MethodDescriptorType):
            yield value.__qualname__, *_fixed([getattr(value, "__self__", None)], seen)
        elif isinstance(value, FunctionType):
            yield tuple(_parts(value, seen))
