"""Promise: `scorer --help`, and a run until its first request, load no module that they have no use for.

A command that ends leaves nothing for the cycle collector.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import run_file, shard

from scorer.rehearsal.process import RehearsalProcess

HEAVY = {
    "aiohttp", "asyncio", "msgspec", "numpy", "orjson", "polars", "pyarrow", "pydantic", "rich.markdown",
    "scorer.build", "scorer.cli.judge_commands", "scorer.cli.options", "scorer.cli.run_commands",
    "scorer.cli.system_commands", "scorer.output", "ssl", "tiktoken",
}  # fmt: skip
"""Not for `scorer --help`: most of the time until it answers would go into these."""
LATER = {
    "aiohttp", "attr", "cyclopts", "difflib", "duckdb", "gzip", "http.client", "polars", "prometheus_client",
    "pyarrow.compute", "pyarrow.dataset", "ray", "rich", "scorer.analysis", "scorer.cli.jsonlog",
    "scorer.cli.judge_commands", "scorer.cli.system_commands", "scorer.client.aws_signing",
    "scorer.client.cache_leaders", "scorer.client.discovery", "scorer.client.fleet", "scorer.client.hedging",
    "scorer.client.http.general", "scorer.client.key_command", "scorer.engine.dedupe",
    "scorer.inputs.formats.csv_text", "scorer.inputs.formats.json_lines", "scorer.job.distributed_scoring",
    "scorer.judges.versus", "scorer.metrics.pool", "scorer.metrics.protocol", "scorer.metrics.references",
    "scorer.output.scan", "scorer.output.verify", "scorer.publish", "scorer.rehearsal", "scorer.workers", "tiktoken",
    "urllib.request", "xllamacpp", "yarl",
}  # fmt: skip
"""Not before the first request of one process over Parquet that counts no tokens, computes no metric, asks a judge
of this machine at a plain address."""

HELP = """
import sys
from scorer.cli.app import _exit_code

assert _exit_code(["--help"]) == 0
print(*sys.modules)
"""
END = """
import atexit, gc

atexit.register(lambda: print(len(gc.get_objects()) < gc.get_freeze_count() // 100))
from scorer.cli.app import main

main(["--version"])
"""
RUN_TO_THE_FIRST_REQUEST = """
import os, sys
from scorer.client.client import HttpClient

async def complete(self, request):
    print(*sys.modules, flush=True)
    os._exit(0)

HttpClient.complete = complete
from scorer.cli.app import main
main(["run", sys.argv[1], "--quiet"])
"""
WHOLE_RUN = """
import atexit, sys

atexit.register(lambda: print(*sys.modules))
from scorer.cli.app import main
from scorer.output import merge

if sys.argv[2] == "copied":
    merge.MANY_RUNS = 0
main(["run", sys.argv[1], "--quiet", "--set", "output.flush_rows=5", "--set", "limits.concurrency=1"])
"""


def loaded(code: str, *arguments: str | Path) -> set[str]:
    """The modules that a script names in its last line."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_help_loads_the_command_line_and_nothing_heavy() -> None:
    """Slow: starts an interpreter."""
    modules = loaded(HELP)
    assert "scorer.cli.commands" in modules
    assert not modules & HEAVY


@pytest.mark.slow
def test_a_run_sends_its_first_request_before_it_loads_what_comes_later(tmp_path: Path) -> None:
    """Slow: starts the real command."""
    shard(tmp_path / "in/a.parquet", 3)
    modules = loaded(RUN_TO_THE_FIRST_REQUEST, run_file(tmp_path, "http://127.0.0.1:9/v1"))
    assert "scorer.output.segments" in modules
    assert not modules & LATER


@pytest.mark.slow
def test_a_whole_run_loads_no_masked_arrays_and_arrows_kernels_only_to_copy_rows(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: starts the real command twice."""
    shard(tmp_path / "in/a.parquet", 30)
    run = run_file(tmp_path, judge.url)
    in_order = loaded(WHOLE_RUN, run, "in order")
    shutil.rmtree(tmp_path / "out")
    copied = loaded(WHOLE_RUN, run, "copied")
    assert "pyarrow.compute" in copied, "no segments were merged"
    assert "pyarrow.compute" not in in_order
    assert "numpy.ma" not in in_order | copied


@pytest.mark.slow
def test_a_command_that_ends_leaves_nothing_for_the_cycle_collector() -> None:
    """Slow: starts an interpreter."""
    assert loaded(END) == {"True"}
