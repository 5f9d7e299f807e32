"""Metrics in batches of rows; the costly ones in child processes, off the event loop.

It does not use multiprocessing, whose spawn runs the user's script again (a script without `if __name__ ==
"__main__"` fails then) and whose workers outlive a killed parent.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import orjson

from scorer.errors import SpecError
from scorer.metrics import METRICS, Options, load, unknown
from scorer.metrics.references import Reference
from scorer.metrics.worker import Batch, Columns, Failures, score
from scorer.processes.child_process import ChildProcess
from scorer.processes.cores import usable_cores
from scorer.processes.search_path import child_environment

LIGHT = frozenset({"exact_match", "length", "words"})
"""Metrics of a few microseconds a row: scored at once, in the caller's thread. That holds the interpreter's lock, so
whatever costs more (token_f1: 215 us at 200 words, as much as all else of a row) would slow the judge's loop."""

MOST_DEATHS = 64
"""So many of its processes may die, then a pool that tells of failures does without the metrics they compute."""


class Pool:
    """Scores columns of texts while the `with` block lasts.

    `workers` is the number of child processes: by default one for each core but `spare_cores`, and only one where a
    metric comes from outside, which may be a large model. With light metrics only there is no child at all.
    `options` are those of each metric that has some, by its name.

    With `tell`, a metric that fails on a row, or whose process dies on it, is None there, and `columns` raises nothing:
    `tell` is given a sentence at the first such row, the second, the fourth and so on. Without it `columns` raises.

    Raises, on entering: SpecError where a name is unknown, an option is wrong or what a metric needs is not installed.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        options: Options | None = None,
        workers: int | None = None,
        spare_cores: int = 1,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._options = options or {}
        self.needs_reference: frozenset[str] = frozenset()
        """Those of `names` that need a reference; known once entered."""
        self._heavy = [name for name in self.names if name not in LIGHT]
        alone = any(name not in METRICS for name in self.names)
        self._workers = workers or (1 if alone else max(1, usable_cores() - spare_cores))
        self._light = {name: load(name, self._options.get(name)) for name in self.names if name in LIGHT}
        self._children: list[_Child] = []
        self._turn = threading.Lock()
        self._stack = ExitStack()
        self._tell = tell
        self._failed: dict[str, int] = {}
        self._deaths = 0
        self._gave_up = False

    def __repr__(self) -> str:
        return f"<Pool {', '.join(self.names)} in {len(self._children)} processes>"

    def __enter__(self) -> Self:
        if wrong := unknown(self.names):
            raise SpecError(wrong)
        with ExitStack() as stack:
            count = self._workers if self._heavy else 0
            self._children = [_Child(self._heavy, self._options) for _ in range(count)]
            for child in self._children:
                stack.enter_context(child)
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

    def columns(self, responses: Sequence[str | None], references: Sequence[Reference]) -> Columns:
        """Blocking: one score for each row and metric, by name, in the order of the rows.

        Of several references of a row the best score counts, see `best_scores`.

        May be called from any thread. Raises SpecError where a metric fails, with what it said, and closes the pool;
        with `tell` it does neither.
        """
        with self._turn:
            if self._tell is not None:
                return self._in_part(responses, references)
            if self._heavy and not self._children:
                raise RuntimeError(f"{self!r} is closed")
            try:
                return self._columns(responses, references)
            except BaseException:
                # An answer not yet fetched would be taken for that to the next batch.
                self.__exit__(*sys.exc_info())
                raise

    def _columns(self, responses: Sequence[str | None], references: Sequence[Reference]) -> Columns:
        rows, count = len(responses), len(self._children)
        for first, child in enumerate(self._children):
            child.send((responses[first::count], references[first::count], False))
        found = score(self._light, responses, references)
        found.update({name: [None] * rows for name in self._heavy})
        for first, child in enumerate(self._children):
            for name, part in child.receive()[0].items():
                found[name][first::count] = part
        return {name: found[name] for name in self.names}

    # --- what fails costs its row -------------------------------------------------------------------------------------

    def _in_part(self, responses: Sequence[str | None], references: Sequence[Reference]) -> Columns:
        rows, count = len(responses), len(self._children)
        failures: Failures = {}
        parts = [(responses[first::count], references[first::count], True) for first in range(count)]
        sent = [self._sent(child, part) for child, part in zip(self._children, parts, strict=True)]
        found = score(self._light, responses, references, failures)
        self._note(failures)
        found.update({name: [None] * rows for name in self._heavy})
        for first, (child, part) in enumerate(zip(self._children, parts, strict=True)):
            columns = self._received(child) if sent[first] else None
            if columns is None:
                columns = self._by_halves(child, part)
            for name, values in columns.items():
                found[name][first::count] = values
        return {name: found[name] for name in self.names}

    def _by_halves(self, child: _Child, part: Batch) -> Columns:
        """The part anew, so that a row of which the process dies is alone in the end."""
        responses, references, _ = part
        rows = len(responses)
        if not rows:
            return {name: [] for name in self._heavy}
        if self._sent(child, part) and (columns := self._received(child)) is not None:
            return columns
        if rows == 1 or self._deaths >= MOST_DEATHS:
            self._note(dict.fromkeys(self._heavy, (rows, child.said)))
            return {name: [None] * rows for name in self._heavy}
        half = rows // 2
        first = self._by_halves(child, (responses[:half], references[:half], True))
        second = self._by_halves(child, (responses[half:], references[half:], True))
        return {name: first[name] + second[name] for name in self._heavy}

    def _sent(self, child: _Child, part: Batch) -> bool:
        """True where a process took the part; one that died before is replaced first."""
        try:
            if child.died:
                if self._deaths >= MOST_DEATHS:
                    return False
                child.again()
            child.send(part)
        except (SpecError, OSError) as error:
            self._lost(child, error)
            return False
        return True

    def _received(self, child: _Child) -> Columns | None:
        try:
            columns, failures = child.receive()
        except (SpecError, OSError) as error:
            self._lost(child, error)
            return None
        self._note(failures)
        return columns

    def _lost(self, child: _Child, error: Exception) -> None:
        self._deaths += 1
        child.died, child.said = True, str(error)
        child.kill()

    def _note(self, failures: Failures) -> None:
        """Reports the first row on which a metric fails, and again each time that their number has doubled."""
        assert self._tell is not None
        for name, (rows, said) in failures.items():
            before = self._failed.get(name, 0)
            self._failed[name] = before + rows
            if (before + rows).bit_length() > before.bit_length():
                so_far = f"{before + rows} row{'s' * (before + rows > 1)}"
                self._tell(f"metric_{name} is null in {so_far} so far, where that metric failed: {_line(said)}")
        if failures and self._deaths >= MOST_DEATHS and not self._gave_up:
            self._gave_up = True
            self._tell(
                f"The processes that compute {', '.join(self._heavy)} died {self._deaths} times: from here on these "
                "metrics are null. `scorer metrics` computes them later."
            )


def _line(text: str) -> str:
    return " ".join(text.split())[:500]


class _Child:
    """One worker process, from `with` to the end of its block."""

    def __init__(self, names: Sequence[str], options: Options) -> None:
        self._names = names
        self._options = orjson.dumps({name: options[name] for name in names if name in options}).decode()
        self.died = False
        """True from when its death was found until `again`."""
        self.said = ""

    def again(self) -> None:
        """A new process in place of one that died."""
        self.died = False
        self.__exit__(None, None, None)
        self.__enter__()
        self.ready()

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Self:
        self._process = ChildProcess("scorer.metrics.worker", self._options, *self._names, environment=_environment())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop(now=kind is not None)

    def ready(self) -> frozenset[str]:
        needs_reference, wrong = self._answer()
        if wrong:
            raise SpecError(wrong)
        known: frozenset[str] = needs_reference
        return known

    def send(self, batch: Batch) -> None:
        try:
            pickle.dump(batch, self._process.stdin)
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> tuple[Columns, Failures]:
        answer: tuple[Columns, Failures] = self._answer()
        return answer

    def _answer(self) -> Any:
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error

    def _ended(self) -> SpecError:
        code = self._process.wait()
        return SpecError(
            [
                f"The process that computes {', '.join(self._names)} ended (exit code {code}). It said: "
                f"{self._process.last_words()}. Mend that metric or take it out of metrics.names."
            ]
        )


def _environment() -> dict[str, str]:
    # One thread each: the processes are the parallelism. The path goes with it: a metric from outside is found there.
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return child_environment(**one, TOKENIZERS_PARALLELISM="false")
