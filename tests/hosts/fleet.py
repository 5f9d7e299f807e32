"""A judge, a bucket and some hosts for runs, each on a host of its own; what judge and bucket say at the end."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson
import pytest
from network import Host, Network, Slow, network
from support.command import JUDGE, PATIENCE_S, PROMPT, shard, toml
from support.seaweed import BUCKET, Weed

from scorer.files.router import AnyFiles
from scorer.output.scan import scan_scores
from scorer.output.status import Status, status
from scorer.output.verify.folder import verify
from scorer.rehearsal.process import RehearsalProcess

PYTHON = sys.executable
OUT = f"s3://{BUCKET}/out"
FLUSH_ROWS = 10
SHIFTED_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long shift(void) { const char *s = getenv("SHIFTED_CLOCK_S"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(id, t);
  if (!done && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += shift();
  return done;
}
int gettimeofday(struct timeval *t, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
"""


class StandStill(Thread):
    """Notes when the machine last stood still for a second: what has to happen within seconds begins anew then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended_at = -math.inf
        self._ended = Event()

    def run(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(0.05):
            now = time.monotonic()
            if now - before > 1.0:
                self.ended_at = now
            before = now

    def end(self) -> None:
        self._ended.set()
        self.join()


@dataclass(slots=True)
class Fleet:
    """The hosts by their names, the judge, the bucket, and the run file that all hosts see."""

    folder: Path
    net: Network
    hosts: dict[str, Host]
    judge: RehearsalProcess
    store: Host
    run: Path
    still: StandStill

    def scorer(self, host: str, *words: object, **variables: str) -> subprocess.Popen[str]:
        """Starts scorer on a host."""
        return self.hosts[host].start(PYTHON, "-m", "scorer", *words, **variables)

    def limits(self, **limits: Any) -> None:
        """Writes the run file with these limits."""
        tree: dict[str, dict[str, Any]] = {
            "input": {"shards": [f"{self.folder}/in/*.parquet"], "id": "id"},
            "judge": {"prompt": PROMPT, "scale": [1, 10]},
            "model": {"name": "judge", "base_url": self.judge.url, "price": {"input": 1.0, "output": 2.0}},
            "limits": limits,
            "output": {"path": OUT, "flush_rows": FLUSH_ROWS, "flush_s": 0.5},
        }
        self.run.write_text(toml(tree))

    def paid(self) -> int:
        """Rows that the judge was paid for."""
        found: int = self.judge.stats()["rows_paid"]
        return found

    def status(self) -> Status:
        return status(AnyFiles(), OUT)

    def measured(self, what: str, **figures: float) -> None:
        """Prints figures of a scenario: `pytest -rP` shows them."""
        sys.stdout.write(f"{what}: {', '.join(f'{name} {value:.4g}' for name, value in figures.items())}\n")

    def whole(self, rows: int) -> None:
        """Every row is in the bucket once, `verify` agrees, and the ledger covers what the judge was paid."""
        ids = scan_scores(OUT).select("id").collect()["id"].to_list()
        assert sorted(ids) == sorted(f"r{number}" for number in range(rows))
        assert verify(AnyFiles(), OUT).findings == ()
        stats, found = self.judge.stats(), self.status()
        billed = (stats["prompt_tokens"] + 2 * stats["completion_tokens"]) / 1e6
        assert found.cost_usd <= billed + 1e-9
        assert found.cost_usd + found.maybe_billed_usd >= billed - 1e-9


@contextmanager
def fleet(folder: Path, names: Mapping[str, Slow | None], *, rows: int, latency_s: float) -> Iterator[Fleet]:
    """A judge, a bucket and these hosts; `rows` rows are to be judged."""
    with pytest.MonkeyPatch.context() as patch, network({"PYTHONPATH": os.pathsep.join(_import_path())}) as net:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.delenv(name, raising=False)
        judge_host, store_host = net.host("judge"), net.host("store")
        hosts = {name: net.host(name, slow) for name, slow in names.items()}
        config = JUDGE.changed({"latency_median_s": latency_s, "latency_sigma": 0.2})
        words = ("-m", "scorer.rehearsal", "--host", judge_host.ip, "--port", 8000, "--config", config.to_json())
        served = subprocess.Popen(
            judge_host.command(PYTHON, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert served.stdout is not None
        judge = RehearsalProcess(config)
        judge.url = orjson.loads(served.stdout.readline())["url"]
        weed = Weed(_made(folder / "weed"), store_host.ip, store_host.command())
        for name, value in weed.variables().items():
            patch.setenv(name, value)
        shard(folder / "in/a.parquet", rows)
        made = Fleet(folder, net, hosts, judge, store_host, folder / "run.toml", StandStill())
        made.still.start()
        try:
            yield made
        finally:
            made.still.end()
            served.kill()
            served.communicate()
            weed.kill()


def moments(name: str) -> random.Random:
    """Draws the moments of a scenario: SCORER_HOSTS_SEED chooses others. The seed is printed."""
    seed = os.environ.get("SCORER_HOSTS_SEED", "1")
    sys.stdout.write(f"{name}: seed {seed}\n")
    return random.Random(f"{name} {seed}")


def until(true: Callable[[], bool], what: str = "") -> None:
    """Returns once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s in vain {what}"
        time.sleep(0.05)


def clock_ahead(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of processes whose clock is so far ahead; {} where there is no C compiler."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SHIFTED_CLOCK)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return {}
    return {"LD_PRELOAD": str(library), "SHIFTED_CLOCK_S": str(seconds)}


def _import_path() -> Sequence[str]:
    import scorer

    return [str(Path(scorer.__file__).parent.parent)]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


__all__ = ["OUT", "Fleet", "clock_ahead", "fleet", "moments", "until"]
