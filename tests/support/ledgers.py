"""Ledgers of tests: opened, and their lines as they are in the file."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from support.clock import inline

from scorer.files.local_files import LocalFiles
from scorer.output.ledger import Ledger


def opened(
    folder: str,
    owner: str = "1",
    *,
    strict: bool = True,
    files: LocalFiles | None = None,
    offload: Callable[..., Awaitable[Any]] = inline,
) -> Ledger:
    ledger = Ledger(files or LocalFiles(), folder, owner, offload=offload, strict=strict)
    ledger.open()
    return ledger


def entries(folder: str, owner: str = "1") -> list[dict[str, Any]]:
    """The lines of one file, each checked against its checksum by hand."""
    found = []
    for line in Path(folder, owner).read_bytes().splitlines():
        assert int(line[:8], 16) == zlib.crc32(line[9:])
        assert line[8:9] == b" "
        found.append(orjson.loads(line[9:]))
    return found
