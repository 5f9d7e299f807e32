"""Finished runs to publish, and what a table should hold of them."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

from publish.lakes import Lake
from support.clock import run as virtually
from support.command import ended, started
from support.outputs import Output
from support.warm_starts import WarmProcess

from scorer.output.manifest import load, new_id, save


def output(root: Path, *sizes: int, failing: bool = False, named: bool = True) -> Output:
    """A finished run; all rows of its last shard failed where `failing`. Not `named`: as an earlier version left it."""
    root.mkdir(exist_ok=True)
    made = Output(root, *sizes)
    if named:
        manifest = load(made.files, made.layout)
        assert manifest is not None
        save(made.files, made.layout, replace(manifest, id=new_id()))
    for shard, size in enumerate(sizes):
        error = "Unavailable" if failing and shard == len(sizes) - 1 else None
        virtually(made.score({shard: range(size)}, error=error))
    return made


def run_of(made: Output) -> str:
    """The id of a run."""
    manifest = load(made.files, made.layout)
    assert manifest is not None
    return manifest.id


def expected(made: Output) -> list[tuple[str, str, int]]:
    """The identities of all its rows, sorted."""
    return sorted((run_of(made), shard.path, row) for shard in made.shards for row in range(shard.rows))


def begin(made: Output, lake: Lake) -> WarmProcess:
    """A command that publishes."""
    return started("publish", made.layout.out, "--to", lake.address, **lake.environment)


def end(process: WarmProcess) -> int:
    with process:
        done = ended(process)
    assert done.code in (0, -signal.SIGKILL), done.err
    return done.code
