"""Metrics of many rows at once, the costly ones in child processes, so that they never slow the judge's loop.

The children are ours and not multiprocessing's: its spawn runs the user's script once more, which a script of three
lines without `if __name__ == "__main__"` does not survive, and its workers stay behind when their parent is killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, Any, Self

from scorer.errors import SpecError
from scorer.metrics import METRICS, load, unknown
from scorer.metrics.worker import Columns, score
from scorer.search_path import child_command, child_environment

LIGHT = frozenset({"exact_match", "length", "words"})
"""Metrics of a few microseconds a row: scored at once, in the caller's thread. That holds the interpreter's lock, so
whatever costs more (token_f1: 215 us at 200 words, as much as all else of a row) would slow the judge's loop."""

_STOP_TIMEOUT_S = 5.0
_SAID_LINES = 3


class Pool:
    """Scores columns of texts while the `with` block lasts.

    `workers` is the number of child processes: by default one for each core but `spare_cores`, and only one where a
    metric comes from outside, which may be a large model. With light metrics only there is no child at all.

    Raises, on entering: SpecError where a name is unknown or what a metric needs is not installed.
    """

    def __init__(self, names: Sequence[str], *, workers: int | None = None, spare_cores: int = 1) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.needs_reference: frozenset[str] = frozenset()
        """Those of `names` that need a reference; known once entered."""
        self._heavy = [name for name in self.names if name not in LIGHT]
        alone = any(name not in METRICS for name in self.names)
        self._workers = workers or (1 if alone else max(1, _cores() - spare_cores))
        self._light = {name: load(name) for name in self.names if name in LIGHT}
        self._children: list[_Child] = []
        self._turn = threading.Lock()
        self._stack = ExitStack()

    def __repr__(self) -> str:
        return f"<Pool {', '.join(self.names)} in {len(self._children)} processes>"

    def __enter__(self) -> Self:
        if problems := unknown(self.names):
            raise SpecError(problems)
        with ExitStack() as stack:
            count = self._workers if self._heavy else 0
            self._children = [stack.enter_context(_Child(self._heavy)) for _ in range(count)]
            needing = [child.ready() for child in self._children]
            self._stack = stack.pop_all()
        light = (name for name, metric in self._light.items() if metric.needs_reference)
        self.needs_reference = frozenset(light).union(*needing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._children = []
        self._stack.__exit__(kind, error, trace)

    def columns(self, responses: Sequence[str | None], references: Sequence[str | None]) -> Columns:
        """Blocking: one score for each row and metric, by name, in the order of the rows.

        May be called from any thread. Raises SpecError where a metric fails, with what it said, and closes the pool.
        """
        with self._turn:
            if self._heavy and not self._children:
                raise RuntimeError(f"{self!r} is closed")
            try:
                return self._columns(responses, references)
            except BaseException:
                # An answer not yet fetched would be taken for that to the next batch.
                self.__exit__(*sys.exc_info())
                raise

    def _columns(self, responses: Sequence[str | None], references: Sequence[str | None]) -> Columns:
        rows, count = len(responses), len(self._children)
        for first, child in enumerate(self._children):
            child.send((responses[first::count], references[first::count]))
        found = score(self._light, responses, references)
        found.update({name: [None] * rows for name in self._heavy})
        for first, child in enumerate(self._children):
            for name, part in child.receive().items():
                found[name][first::count] = part
        return {name: found[name] for name in self.names}


def _cores() -> int:
    # A container may often use fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Child:
    """One worker process, from `with` to the end of its block."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __enter__(self) -> Self:
        # A file, since nobody reads while it works and a full pipe would stop it.
        self._said: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            child_command("scorer.metrics.worker", *self._names),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=_environment(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        if kind is not None:
            process.kill()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._said.close()

    def ready(self) -> frozenset[str]:
        needs_reference, problems = self._answer()
        if problems:
            raise SpecError(problems)
        known: frozenset[str] = needs_reference
        return known

    def send(self, batch: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(batch, self._process.stdin)
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> Columns:
        columns: Columns = self._answer()
        return columns

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error

    def _ended(self) -> SpecError:
        code = self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode("utf-8", "replace").splitlines()]
        said = " | ".join([line for line in lines if line][-_SAID_LINES:]).rstrip(".")
        return SpecError(
            [
                f"The process that computes {', '.join(self._names)} ended (exit code {code}). It said: "
                f"{said or 'nothing'}. Mend that metric or take it out of metrics.names."
            ]
        )


def _environment() -> dict[str, str]:
    # One thread each: the processes are the parallelism. The path goes with it: a metric from outside is found there.
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return child_environment(**one, TOKENIZERS_PARALLELISM="false")
