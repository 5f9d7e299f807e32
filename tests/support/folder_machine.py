"""A state machine of an output folder, and the reference model that the folder must equal after every step.

Its steps are starts, kills, retries, rereads, new shards and damage. The model knows of each row its newest stored
result. A stored result stays, the same, until a newer generation replaces it or its file is damaged. A row is asked
only where it has none, or is retried. At the end every row is there once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.inprocess import Run, own_score
from support.mortal_disk import Killed, Mortal

from scorer.errors import OutputError
from scorer.files.local_files import LocalFiles
from scorer.job.reread import reread
from scorer.job.retry import Retry
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.output.status import status

Stored = tuple[int, float | None, str | None]
"""A row's result: generation, score, error."""


class Folder(RuleBasedStateMachine):
    @initialize(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=3), odd=st.booleans(), begun=st.booleans())
    def begin(self, sizes: list[int], odd: bool, begun: bool) -> None:
        """A folder before its first start, or after it; every other row may be refused at first."""
        self.root = Path(tempfile.mkdtemp())
        self.fast = mock.patch.object(os, "fsync", return_value=None)  # kills, no power cuts
        self.fast.start()
        self.made = Run(self.root, *sizes, flush_rows=2)
        self.made.wire.refuses = set(range(1, 30, 2)) if odd else set()
        self.layout = Layout(self.made.out)
        self.stored: dict[int, Stored] = {}
        self.ever: dict[int, set[Stored]] = {}
        self.broken: dict[Path, bytes] = {}
        """Damaged files, by what they were made to be."""
        self.judge: dict[str, Any] = {}
        self.before: Counter[int] = Counter()
        self.may_ask: set[int] = set()
        """Stored rows that this step may ask again."""
        if begun:
            self.run_to_its_end()

    # --- what is done to it -------------------------------------------------------------------------------------------

    @rule()
    def run_to_its_end(self) -> None:
        if self.rereading:
            with pytest.raises(OutputError, match="was being read again"):
                self.made.run(**self.judge)
            return
        self._retries(self.open_retry)
        assert self.made.run(**self.judge).pending == 0

    @rule(step=st.integers(0, 30), when=st.sampled_from(["before", "within", "after"]))
    def run_and_be_killed(self, step: int, when: str) -> None:
        if self.rereading:
            return
        self._retries(self.open_retry)
        with contextlib.suppress(Killed, BaseExceptionGroup):
            self.made.run(Mortal(step, when), **self.judge)

    @precondition(
        lambda self: not self.any_broken() and load(LocalFiles(), self.layout) is not None and not self.rereading
    )
    @rule(step=st.integers(3, 25), when=st.sampled_from(["before", "within", "after"]), names=st.booleans())
    def retry(self, step: int, when: str, names: bool) -> None:
        errors = ("Refused",) if names else None
        self._retries(True)
        with contextlib.suppress(Killed, BaseExceptionGroup):
            self.made.run(Mortal(step, when), Retry(errors), **self.judge)

    @precondition(lambda self: load(LocalFiles(), self.layout) is not None)
    @rule(step=st.integers(0, 20), when=st.sampled_from(["before", "within", "after"]), other=st.booleans())
    def read_again(self, step: int, when: str, other: bool) -> None:
        if self.open_retry:
            return
        sets = ["judge.read=pattern", r"judge.pattern=\d+"] if other else []
        before = load(LocalFiles(), self.layout)
        if before is not None and before.kept is None:  # rebuilt by a start that was killed then
            with pytest.raises(OutputError, match=r"all results had the columns of input\.keep"):
                reread(LocalFiles(), self.made.out, sets)
            return
        with contextlib.suppress(Killed):
            reread(Mortal(step, when), self.made.out, sets)
        manifest = load(LocalFiles(), self.layout)
        assert manifest is not None
        judge = manifest.spec["judge"]
        self.judge = {name: judge[name] for name in ("read", "pattern") if name in judge}

    @precondition(lambda self: len(self.made.shards) < 5)
    @rule(size=st.integers(0, 9))
    def add_a_shard(self, size: int) -> None:
        self.made.add(size)

    @rule(rows=st.sets(st.integers(0, 30)))
    def refuse(self, rows: set[int]) -> None:
        """From now on the judge's content filter stops these and no others."""
        self.made.wire.refuses = rows

    @precondition(lambda self: load(LocalFiles(), self.layout) is not None)
    @rule(which=st.integers(0, 99), place=st.integers(0, 10**6), how=st.sampled_from(["flip", "cut", "empty", "gone"]))
    def damage(self, which: int, place: int, how: str) -> None:
        """Something happens to a result file, and the user looks with `scorer verify`."""
        paths = [path for path in self.files() if not self.is_broken(path)]
        if not paths:
            return
        path = paths[which % len(paths)]
        data = bytearray(path.read_bytes())
        place %= len(data)
        if how == "gone":
            path.unlink()
        else:
            data[place] ^= 1
            self.broken[path] = bytes(data if how == "flip" else data[:place] if how == "cut" else b"")
            path.write_bytes(self.broken[path])
        self.stored = self.read()
        read = path.parent.name == "scores" or not self.sealed(path.parent.name)
        found = self.made.verify()
        assert found.findings or not read
        assert how == "gone" or not read or str(path) in found.damaged or self.hidden(path)

    @precondition(lambda self: load(LocalFiles(), self.layout) is not None and not self.rereading)
    @rule(share=st.floats(0, 0.99))
    def lose_run_json(self, share: float) -> None:
        path = Path(self.layout.manifest)
        os.truncate(path, int(share * path.stat().st_size))
        self._retries(False)
        with contextlib.suppress(Killed, BaseExceptionGroup):
            self.made.run(Mortal(5, "after"), **self.judge)
        if load_or_none(self.layout) is None:
            self.made.run(**self.judge)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_invented_or_paid_twice(self) -> None:
        found, asked = self.read(), self.made.wire.asked - self.before
        for number, stored in self.stored.items():
            assert number in found, f"row {number} was stored and is gone"
            assert found[number][0] > stored[0] or found[number] == stored, (number, stored, found[number])
        for number, (generation, score, error) in found.items():
            assert (error is None) == (score == own_score(number)), (number, score, error)
            was = (generation, score, error) in self.ever.get(number, ())
            new = number in asked or self.stored.get(number, (generation,))[0] < generation
            assert was or new, f"row {number} has a result that nobody gave"
        again = {number for number in asked if number in self.stored} - self.may_ask
        assert not again, f"rows {again} were stored and asked again"
        known = status(LocalFiles(), self.made.out) if load_or_none(self.layout) else None
        assert known is None or known.requests >= self.made.wire.billed, "a bill is in no ledger"
        self.stored, self.before, self.may_ask = found, self.made.wire.asked.copy(), set()
        for number, stored in found.items():
            self.ever.setdefault(number, set()).add(stored)

    def teardown(self) -> None:
        if not hasattr(self, "made"):
            return
        try:
            self._end()
        finally:
            self.fast.stop()
            shutil.rmtree(self.root)

    def _end(self) -> None:
        """However it was left: one reread at most, one run, and all is well."""
        if self.rereading:
            reread(LocalFiles(), self.made.out)
        self._retries(self.open_retry)
        self.made.run(**self.judge)
        self.nothing_is_lost_invented_or_paid_twice()
        assert self.made.verify().findings == ()
        assert sorted(self.stored) == sorted(n for rows in self.made.shards.values() for n in rows)

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def rereading(self) -> bool:
        revision = self._open_revision()
        return revision is not None and revision.kind == "reread"

    @property
    def open_retry(self) -> bool:
        revision = self._open_revision()
        return revision is not None and revision.kind == "retry"

    def _open_revision(self) -> Any:
        manifest = load_or_none(self.layout)
        return manifest.open_revision if manifest is not None else None

    def _retries(self, does: bool) -> None:
        self.may_ask = {number for number, stored in self.stored.items() if does and stored[2] is not None}

    def files(self) -> list[Path]:
        out = Path(self.made.out)
        return sorted([*out.glob("scores/*.parquet"), *out.glob("segments/*/*.parquet")])

    def is_broken(self, path: Path) -> bool:
        return path in self.broken and path.read_bytes() == self.broken[path]

    def any_broken(self) -> bool:
        return any(self.is_broken(path) for path in self.files())

    def sealed(self, stem: str) -> bool:
        return Path(self.layout.sealed(stem)).exists()

    def hidden(self, path: Path) -> bool:
        """A segment that `verify` need not look at: its shard is sealed."""
        return path.parent.name != "scores" and self.sealed(path.parent.name)

    def read(self) -> dict[int, Stored]:
        """The newest result of each row, by every file that was not damaged.

        What a sealed file hides may be of before a reread: its replies were read by another rule, so it counts no more.
        """
        found: dict[int, Stored] = {}
        manifest = load_or_none(self.layout)
        judge = manifest.fingerprint if manifest is not None and not self.rereading else None
        for path in self.files():
            if not self.is_broken(path):
                for row in pq.read_table(path, columns=["id", "generation", "score", "error", "judge"]).to_pylist():
                    if judge not in (None, row["judge"]):
                        continue
                    result = (row["generation"], row["score"], row["error"])
                    number = int(row["id"][1:])
                    if number not in found or found[number][0] < result[0]:
                        found[number] = result
        return found


def load_or_none(layout: Layout) -> Any:
    try:
        return load(LocalFiles(), layout)
    except OutputError:
        return None


def live(lives: int) -> None:
    """So many lives of a folder, each of a dozen steps; the same ones each time."""
    run_state_machine_as_test(
        Folder,
        settings=settings(
            max_examples=lives,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
