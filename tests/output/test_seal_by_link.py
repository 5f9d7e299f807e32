"""Promise: a process that is killed while it seals a shard by a link leaves each row once, and no half file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.clock import run
from support.outputs import FINGERPRINT, SCHEMA, Output, result
from support.stored_rows import complete

from scorer.files.files import PARTIAL
from scorer.output import segments as seg
from scorer.output.layout import Segment
from scorer.output.manifest import load
from scorer.output.tables import to_table

CHANGES = ("link", "fsync", "replace", "unlink")


class Killed(BaseException):
    """kill -9."""


def written(output: Output) -> None:
    """The rows of the shard in one segment, as a worker writes it."""
    manifest = load(output.files, output.layout)
    assert manifest is not None
    table = to_table([result(output.shards[0], n) for n in range(3)], SCHEMA, FINGERPRINT)
    with output.files.create(output.layout.segment(Segment("a", 0, 2, 0, 2, 0, 0))) as file:
        seg.write(file, iter([table]), SCHEMA, seg.about(output.shards[0], FINGERPRINT, 0, manifest.id))


async def sealed(output: Output) -> None:
    store = output.store()
    list(store.work(output.shards))
    await store.close()


def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets the process change the disk so many times more, and returns a list that gets what it does."""
    done: list[str] = []

    def counted(name: str) -> None:
        real: Any = getattr(os, name)

        def call(*given: Any) -> Any:
            if len(done) == steps:
                raise Killed
            done.append(name)
            return real(*given)

        monkeypatch.setattr(os, name, call)

    for name in CHANGES:
        counted(name)
    return done


@pytest.mark.parametrize("steps", range(5))
def test_seal_by_a_link_survives_kill_9_after_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    output = Output(tmp_path, 3)
    written(output)
    with monkeypatch.context() as patched:
        done = killed_after(steps, patched)
        with pytest.raises(Killed):
            run(sealed(output))
    assert done == ["link", "fsync", "replace", "unlink", "fsync"][:steps]
    assert output.sealed().exists() == (steps >= 3)
    run(sealed(output))
    assert complete(output)
    assert not list(tmp_path.rglob(f"{PARTIAL}*"))
