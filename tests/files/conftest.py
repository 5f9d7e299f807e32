"""Leaves this folder out where the extra lake is not installed: without it there is nothing here to test."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("obstore") else ["test_*.py"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The calls that make things durable, as `name path`; a file's also tells how many bytes it held by then."""
    seen: list[str] = []

    def named(fd: int) -> str:
        path = os.readlink(f"/proc/self/fd/{fd}")
        name = os.path.relpath(path, tmp_path).split(f"-{os.getpid()}-")[0]
        return name if os.path.isdir(path) else f"{name} {os.fstat(fd).st_size}"

    def record(call: str, name_of: Callable[..., str]) -> None:
        real: Callable[..., Any] = getattr(os, call)

        def wrapper(*args: Any) -> Any:
            seen.append(f"{call} {name_of(*args)}")
            return real(*args)

        monkeypatch.setattr(os, call, wrapper)

    record("fsync", named)
    record("fdatasync", named)
    record("mkdir", lambda path, _: os.path.relpath(path, tmp_path))
    record("replace", lambda _, path: os.path.relpath(path, tmp_path))
    return seen
