"""Imports and constructs plug-ins by their import path "package.module:Name".

An exception in a plug-in's code becomes a SpecError that says where it was raised. Knows no kind of plug-in.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from scorer.errors import ScorerError, SpecError


def found(target: str, key: str) -> Callable[..., Any]:
    """The class or function at `target`. `key` is the key of the run file that names it, for messages.

    Raises SpecError where the module cannot be imported, has no such name, or the name is not callable.
    """
    module, _, name = target.partition(":")
    try:
        made: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise SpecError(
            [f'{key} = "{target}" cannot be imported: it needs {error.name}. Install that in this environment.']
        ) from error
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: the module's name is empty
        raise SpecError(
            [f'{key} = "{target}" cannot be imported: {error}. Install its package in this environment.']
        ) from error
    except Exception as error:
        raise SpecError([f'{key} = "{target}" cannot be imported: {_where(error)}.']) from error
    if not callable(made):
        raise SpecError(
            [f'{key} = "{target}" is of type {type(made).__name__}: give a class, or a function that makes one.']
        )
    return made


def made(make: Callable[[], Any], target: str, key: str, needs: Sequence[str]) -> Any:
    """The object that `make()` returns. Raises SpecError where it lacks one of the attributes `needs`.

    Raises SpecError also where `make` raises; a ScorerError of the plug-in passes unchanged.
    """
    try:
        built = make()
        missing = [name for name in needs if not hasattr(built, name)]
    except ScorerError:
        raise
    except Exception as error:
        raise SpecError([f'{key} = "{target}" cannot be constructed: {_where(error)}.']) from error
    if missing:
        raise SpecError([f'{key} = "{target}" lacks {", ".join(missing)}. It needs {", ".join(needs)}.'])
    return built


def _where(error: Exception) -> str:
    """The error, and the innermost line outside scorer in its traceback."""
    ours = os.path.dirname(__file__) + os.sep
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((ours, "<"))
    ]
    at = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).rstrip('. ')}{at}"
