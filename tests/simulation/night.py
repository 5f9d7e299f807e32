"""One seed, one night: `scorer.job.Job` unchanged over a simulated disk and judge, killed, restarted, and judged after.

`Night(seed).run()` returns a `Report`; its findings are the promises that were broken, none on a good night.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from simulation.disk import Disk
from simulation.loop import Fuse, MortalLoop, PowerCut
from simulation.world import EPOCH, FORGET_S, OUTAGES, RowBook, Terms, Wire, World

from scorer import ledger
from scorer.build import Plan, check
from scorer.errors import BudgetSpent, RowError, StorageError
from scorer.files import LocalFiles, read
from scorer.job import Job
from scorer.progress import Snapshot
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.speaker import Speaker
from scorer.schema import Completion, Judge, Request, Row, Score
from scorer.status import Status
from scorer.verify import verify
from scorer.wiring import make_client

OUT, SHARDS = "out", "in"
SCALE = (1, 100)
MOST_STARTS = 80
MOST_SECONDS = 7200.0
MAX_OUTPUT = 32
PROMPT = "Rate the answer [row:{id}] from 1 to 100.\n\n{response}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a night was, and what it broke. `digest` is the same for the same night."""

    seed: int
    rows: int
    shards: int
    outages: int
    crashes: int
    changes: int
    starts: int
    seconds: float
    requests: int
    paid_again: int
    fates: dict[str, int]
    findings: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happens once the judge has given `at` good answers."""

    at: int
    name: str
    happen: Callable[[], None]


class _Counted:
    """A judge that counts the rows under way: what bounds memory."""

    def __init__(self, judge: Judge) -> None:
        self.columns, self.fields, self.constant = judge.columns, judge.fields, judge.constant
        self.most = self._now = 0
        self._judge = judge

    def __call__(self, row: Row) -> Generator[list[Request], list[Completion | RowError], Score]:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return (yield from self._judge(row))
        finally:
            self._now -= 1


class Night:
    """A night as its seed makes it. `say` is told what happens, with the virtual second."""

    def __init__(self, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
        draw = Random(seed)
        self.seed = seed
        self._say = say
        self._draw = draw
        self._fuse = Fuse()
        self._disk = Disk(Random(f"disk of {seed}"), self._fuse)
        self._loop: MortalLoop | None = None
        self._now = 0.0
        self._skew = 0.0
        self._slow_until = -1.0
        self._held_s = 0.01
        """The longest that the disk held back an intent: what it held back leaves together."""
        self._findings: list[str] = []
        self._outages = self._crashes = self._changes = self._starts = self._losses = 0
        self._at_start = draw.random() < 0.3
        """The second crash comes while the run that the first one ended is opened again."""
        self._owed = self._boots_anew = False
        self._rotate_bytes = draw.choice([1500, ledger.ROTATE_BYTES])
        self._container = draw.random() < 0.5
        self._kinds: dict[str, str] = {}
        self._snapshot: Snapshot | None = None

        self._concurrency = draw.choice([3, 8, 8, 16, 24])
        self._flush_rows = draw.choice([8, 40, 40, 80])
        self._rpm = draw.choice([240, 480, 600, 900, 1500])
        self._tpm = self._rpm * draw.choice([60, 100, 200])
        self._flush_s = draw.choice([5.0, 30.0, 60.0])
        self._timeout_s = draw.choice([10.0, 30.0])
        self._retries = draw.choice([3, 6])
        self._price = (draw.choice([0.15, 2.5]), draw.choice([0.6, 10.0]))
        self._texts = self._make_shards()
        self._world = self._make_world()
        self._caps = self._make_caps()
        self._events = self._make_events()

    # --- what the seed makes --------------------------------------------------------------------------------------

    def _make_shards(self) -> dict[str, str | None]:
        """Writes the shards; the text of each row by its id."""
        draw, texts = self._draw, dict[str, str | None]()
        sizes = [draw.randint(60, 130) for _ in range(draw.randint(2, 3))]
        sizes += [draw.choice([0, 1, 2]), max(0, 300 - sum(sizes)) + draw.randint(1, 20)]
        for number, size in enumerate(sizes):
            ids = [f"s{number}r{row}" for row in range(size)]
            for name in ids:
                kind = draw.choices(["plain", "poison", "refuse", "null"], [96, 1, 1, 2])[0]
                text = draw.choice(["short", "words and more words ", "grüße 漢字 ", ""]) * draw.randint(1, 12)
                texts[name] = None if kind == "null" else text + {"plain": ""}.get(kind, kind.upper())
                self._kinds[name] = kind
            table = pa.table(
                {"id": pa.array(ids, pa.string()), "response": pa.array([texts[i] for i in ids], pa.string())}
            )
            file = io.BytesIO()
            pq.write_table(table, file, row_group_size=draw.choice([20, 64, 1000]))
            self._disk.put(f"{SHARDS}/part-{number}.parquet", file.getvalue())
        self._shards = len(sizes)
        return texts

    def _make_world(self) -> World:
        draw = self._draw

        def sometimes(most: float) -> float:
            return draw.choice([0.0, draw.uniform(0.0, most)])

        config = RehearsalConfig(
            requests_per_minute=self._rpm,
            tokens_per_minute=self._tpm,
            window=draw.choice(["bucket", "sliding"]),
            charge=draw.choice(["reserve", "reserve", "actual"]),
            latency_median_s=draw.choice([0.1, 0.5, 1.5]),
            latency_sigma=draw.choice([0.2, 0.7]),
            capacity=(capacity := draw.choice([None, None, 6])),
            fault_500=sometimes(0.04),
            fault_503=sometimes(0.04),
            fault_reset=sometimes(0.02),
            fault_cut=sometimes(0.02),
            fault_truncate=sometimes(0.02),
            fault_hang=draw.choice([0.0, 0.01, 0.02]),
            hang_s=draw.choice([5.0, 600.0]) if capacity is None else 5.0,
            fault_html=sometimes(0.02),
            fault_error_200=sometimes(0.02),
            fault_prose=sometimes(0.03),
            fault_null=sometimes(0.02),
            fault_slow=sometimes(0.03),
            slow_s=draw.choice([3.0, 20.0]),
            poison="POISON",
            refuse="REFUSE",
            scale=SCALE,
            cached_share=draw.choice([None, 0.5]),
        )
        input_pico, output_pico = (round(usd * 10**6) for usd in self._price)
        terms = Terms(self._rpm, self._tpm, self._concurrency, self._retries, input_pico, output_pico)
        world = World(
            config,
            terms,
            Random(f"world of {self.seed}"),
            {row: RowBook(closed=text is None) for row, text in self._texts.items()},
            broken=self._broken,
            after_good=self._after_good,
        )
        self._speaker = Speaker(config)
        return world

    def _make_caps(self) -> dict[str, Any]:
        """Caps of the run file; a tight one stops the run a few times and is raised by the operator."""
        kind = self._draw.choice(["none", "usd", "tokens", "both"])
        share = self._draw.choice([0.6, 1.5, 4.0])
        tokens = int(len(self._texts) * 90 * share)
        usd = len(self._texts) * 90 * share * self._price[0] / 10**6
        return {
            **({"max_usd": usd} if kind in ("usd", "both") else {}),
            **({"max_tokens": tokens} if kind in ("tokens", "both") else {}),
        }

    def _make_events(self) -> list[_Event]:
        draw, world = self._draw, self._world
        plain = sum(kind == "plain" for kind in self._kinds.values())
        events: list[_Event] = []

        def add(name: str, happen: Callable[[], None]) -> None:
            events.append(_Event(int(plain * draw.uniform(0.03, 0.9)), name, happen))

        for _ in range(3):
            kind, seconds = draw.choice(OUTAGES), draw.choice([draw.uniform(1, 20), draw.uniform(1, 80)])
            add(f"outage: {kind} for {seconds:.0f} s", partial(self._outage, kind, seconds))
        for _ in range(1 if self._at_start else draw.choice([2, 2, 3])):
            add("crash", self._arm)
        for _ in range(draw.choice([1, 1, 2])):
            factor = draw.choice([0.3, 0.5, 0.8, 1.0, 2.0])
            add(f"limits x {factor}", partial(self._change, factor))
        if draw.random() < 0.5:
            kind = draw.choice(["429", "429_bare", "429_bare", "429_date"])
            wish_s = draw.choice([0.0, 2.0, 20.0, 86_400.0])
            seconds = draw.uniform(1, 20)
            add(f"storm: {kind}, {wish_s:g} s", lambda: world.storms(kind, self._time(), seconds, wish_s))
        if draw.random() < 0.3:
            add("lies", lambda: world.lies(self._time(), draw.uniform(1, 20)))
        if draw.random() < 0.2:
            seconds_full = draw.uniform(1, 60)
            add("disk full", partial(self._full, seconds_full))
        if draw.random() < 0.2:
            add("disk failing", lambda: setattr(self._disk, "failing", draw.randint(1, 3)))
        if draw.random() < 0.3:
            add("disk slow", lambda: setattr(self, "_slow_until", self._time() + draw.uniform(1, 40)))
        return sorted(events, key=lambda event: event.at)

    # --- what happens -----------------------------------------------------------------------------------------------

    def _time(self) -> float:
        return self._loop.time() if self._loop is not None else self._now

    def _tell(self, text: str) -> None:
        self._say(f"{self._time():9.3f} s  {text}")

    def _broken(self, finding: str) -> None:
        self._tell(f"BROKEN: {finding}")
        self._findings.append(f"{finding} (at {self._time():.3f} s)")
        if self._loop is not None:
            self._fuse.burn()  # what comes after it says nothing

    def _after_good(self, good: int) -> None:
        while self._events and self._events[0].at <= good:
            if self._events[0].name == "crash" and self._fuse.armed:
                return  # one death at a time
            event = self._events.pop(0)
            self._tell(event.name)
            event.happen()

    def _outage(self, kind: str, seconds: float) -> None:
        self._outages += 1
        self._world.breaks_down(kind, self._time(), seconds)

    def _change(self, factor: float) -> None:
        self._changes += 1
        self._world.changes_limits(factor, self._time())

    def _full(self, seconds: float) -> None:
        self._disk.full = True
        self._full_until = self._time() + seconds
        assert self._loop is not None
        self._loop.call_later(seconds, setattr, self._disk, "full", False)

    def _arm(self, callbacks: int = 300, calls: int = 60) -> None:
        """Death comes between two callbacks or two system calls, soon."""
        if self._draw.random() < 0.5:
            self._fuse.arm(callbacks=self._draw.randint(0, callbacks))
        else:
            self._fuse.arm(calls=self._draw.randint(0, calls))

    def _delays(self) -> tuple[float, float]:
        draw = self._draw
        if self._time() < self._slow_until:
            delays = draw.uniform(0.1, 3.0), draw.uniform(0.0, 1.0)
            self._held_s = max(self._held_s, sum(delays))
            self._world.excuse(self._time(), sum(delays))
            self._world.excused_until = max(self._world.excused_until, self._time() + sum(delays) + FORGET_S)
            return delays
        return draw.uniform(0.0, 0.002), draw.uniform(0.0, 0.002)

    # --- the operator -----------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """The night, restarted until every row is finished or a promise is broken."""
        with (
            self._disk.mounted(),
            mock.patch.object(os, "getpid", self._pid),
            mock.patch.object(ledger, "ROTATE_BYTES", self._rotate_bytes),
        ):
            while not self._findings:
                if self._starts == MOST_STARTS or self._now > MOST_SECONDS:
                    self._broken(f"after {self._starts} starts and {self._now:.0f} s the night is not over")
                    break
                if self._live():
                    self._completed(self._status)
                    self._judge()
                    break
                self._now += self._draw.uniform(1.5, 20.0)
        return self._report()

    def _pid(self) -> int:
        """Containers give every start the same."""
        return 1 if self._container else 1000 + self._starts

    def _plan(self) -> Plan:
        """The run file, as the operator has it by now."""
        input_usd, output_usd = self._price
        tree = {
            "input": {"shards": [SHARDS], "id": "id"},
            "judge": {"kind": "rating", "prompt": PROMPT, "scale": list(SCALE)},
            "model": {
                "name": "simulated",
                "base_url": "http://127.0.0.1:1/v1",
                "max_output_tokens": MAX_OUTPUT,
                "timeout_s": self._timeout_s,
                "retries": self._retries,
                "price": {"input": input_usd, "output": output_usd},
            },
            "limits": {
                "requests_per_minute": self._rpm,
                "tokens_per_minute": self._tpm,
                "concurrency": self._concurrency,
                "max_failed_share": 1.0,
                **self._caps,
            },
            "output": {"path": OUT, "flush_rows": self._flush_rows, "flush_s": self._flush_s},
        }
        world = self._world
        world.max_tokens = self._caps.get("max_tokens")
        world.max_pico = round(self._caps["max_usd"] * 10**12) if "max_usd" in self._caps else None
        return check(tree)

    def _live(self) -> bool:
        """One process, from its start to its end; True where the run is complete."""
        self._starts += 1
        self._fuse.burnt = False
        if self._owed or (self._at_start and self._crashes == 1):
            self._at_start = self._owed = False
            self._arm(callbacks=80, calls=40)
        if self._boots_anew:  # a board whose clock starts at the same second at each boot
            self._boots_anew, self._skew = False, -self._now
        if self._disk.full and self._now > self._full_until:
            self._disk.full = False
        loop = self._loop = MortalLoop(self._now, self._fuse)
        world = self._world
        world.clock = loop.time
        world.begins(self._now)
        self._tell(f"start {self._starts}")
        plan = self._plan()
        counted = _Counted(plan.judge)
        self._snapshot = None
        wire = partial(Wire, world)
        job = Job(
            replace(plan, judge=counted),
            LocalFiles(),
            offload=loop.offload(self._delays),
            wall_s=lambda: EPOCH + loop.time() + self._skew,
            watch=self._seen,
            connect=partial(make_client, transport=lambda *, timeout_s, **_: wire(timeout_s=timeout_s)),
        )
        try:
            self._look(loop)
            self._status = loop.run_until_complete(job.run())
            after = self._ended
        except PowerCut:
            after = self._died
        except StorageError as error:
            self._tell(f"stopped: {error}")
            after = self._lost
        except BudgetSpent as error:
            self._tell(f"stopped: {error}")
            after = self._raised
        except Exception as error:  # noqa: BLE001 - anything else that ends a night is a finding
            self._broken(f"{type(error).__name__}: {error}")
            after = self._ended
        if counted.most > (most := 2 * self._concurrency + 64):
            self._broken(f"{counted.most} rows were under way, {most} may be")
        self._owed = self._fuse.armed and not self._fuse.burnt  # it ended by itself first
        self._fuse.arm()
        self._now, self._loop = loop.time(), None
        loop.bury(quietly=self._fuse.burnt)
        after()
        return after == self._ended and not self._findings

    def _look(self, loop: MortalLoop) -> None:
        self._world.watch(loop.time())
        loop.call_later(5.0, self._look, loop)
        if loop.time() > MOST_SECONDS:
            self._broken("the night does not end")

    def _seen(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def _died(self) -> None:
        self._crashes += 1
        self._losses += 1
        if self._draw.random() < 0.7:
            self._tell("died: power cut")
            self._disk.cut()
        else:
            self._tell("died: kill -9")
            self._disk.ends()
        if self._draw.random() < 0.15:
            self._boots_anew = True

    def _ended(self) -> None:
        """A process that ended by itself has settled everything."""
        self._disk.ends()
        last = self._snapshot
        if last is not None and last.state != "running" and last.in_flight:
            self._broken(f"{last.in_flight} requests were never settled")

    def _lost(self) -> None:
        """The disk refused what was gathered."""
        self._losses += 1
        self._ended()

    def _raised(self) -> None:
        """The operator raises the caps, once the books say that the next request did not fit."""
        self._lost()
        totals = ledger.totals(LocalFiles(), f"{OUT}/ledger")
        texts = (text or "" for text in self._texts.values())
        prompt = max(len(PROMPT.encode()) + len(text.encode()) for text in texts) + 100
        pico = prompt * self._world.terms.input_pico + MAX_OUTPUT * self._world.terms.output_pico
        over_tokens = totals.tokens + prompt + MAX_OUTPUT > (self._world.max_tokens or math.inf)
        over_pico = totals.money_pico + pico > (self._world.max_pico or math.inf)
        if not (over_tokens or over_pico):
            self._broken(f"stopped by a budget though the next request fits: {totals}")
        self._caps = {name: value * 2 for name, value in self._caps.items()}

    # --- the judgement ----------------------------------------------------------------------------------------------

    def _completed(self, status: Status) -> None:
        if status.state != "complete" or status.pending:
            self._broken(f"the run ended as {status}")
        if self._snapshot is not None and self._snapshot.maybe_billed_usd != status.maybe_billed_usd:
            self._broken("an intent was left open by a run that is complete")
        asked = len(self._world.asked)
        loop = MortalLoop(self._time(), Fuse())
        try:
            again = Job(self._plan(), LocalFiles(), offload=loop.offload(lambda: (0.0, 0.0)), wall_s=loop.time)
            if loop.run_until_complete(again.run()) != replace(status, rows_per_s=status.rows_per_s):
                self._broken("a second run of a complete one changes its status")
        finally:
            loop.bury()
            self._disk.ends()
        if len(self._world.asked) != asked:
            self._broken("a second run of a complete one asks again")

    def _judge(self) -> None:
        """Every promise, against the judge's own books."""
        verdict = verify(LocalFiles(), OUT)
        for finding in verdict.findings:
            self._broken(f"verify: {finding}")
        if not verdict.findings:
            self._judge_rows()
        self._judge_books()
        self._judge_limits()

    def _judge_rows(self) -> None:
        files, seen = LocalFiles(), 0
        for number in range(self._shards):
            table = pq.read_table(io.BytesIO(read(files, f"{OUT}/scores/part-{number}.parquet")))
            rows = zip(*(table.column(c).to_pylist() for c in ("id", "row", "score", "error")), strict=True)
            for name, row, score, error in rows:
                seen += 1
                if name != f"s{number}r{row}":
                    self._broken(f"row {row} of shard {number} is called {name}")
                if complaint := self._judge_row(name, score, error):
                    self._broken(f"{name} has score {score} and error {error}: {complaint}")
        if seen != len(self._texts):
            self._broken(f"{seen} rows of {len(self._texts)} came back")

    def _judge_row(self, name: str, score: float | None, error: str | None) -> str | None:
        """What is wrong with a row's end; None where it is what the judge's books say."""
        book, kind = self._world.rows[name], self._kinds[name]
        if (score is None) is (error is None):
            return "it must have one of the two"
        if kind != "plain" and error == {"poison": "TooLong", "refuse": "Refused", "null": "BadRow"}[kind]:
            return None
        if score is not None:
            verdict = float(self._speaker.verdict(name).label)
            return None if book.good and score == verdict and kind == "plain" else f"the judge said {verdict}, {book}"
        if error in ("Unreadable", "Truncated"):
            return None if book.bad >= 3 else f"it had no three replies without a verdict: {book}"
        if error == "Unavailable":
            enough = book.failures + book.throttles / 10 >= self._retries
            return None if enough else f"an outage is no fault of its own: {book}"
        return f"nothing explains it: {kind}, {book}"

    def _judge_books(self) -> None:
        world, totals = self._world, ledger.totals(LocalFiles(), f"{OUT}/ledger")
        if self._caps and world.billed_pico > totals.money_pico:
            self._broken(f"{world.billed_pico} pico-dollars were billed, the books admit {totals.money_pico}")
        if self._caps and world.billed_tokens > totals.tokens:
            self._broken(f"{world.billed_tokens} tokens were billed, the books admit {totals.tokens}")
        if totals.prompt_tokens + totals.completion_tokens > world.billed_tokens:
            self._broken(f"the books claim {totals} as known, {world.billed_tokens} tokens were billed")
        bound = self._losses * (self._concurrency + 2 * self._flush_rows)
        if self._paid_again > bound:
            self._broken(f"{self._paid_again} answers were paid again, {bound} may be")

    @property
    def _paid_again(self) -> int:
        return sum(max(0, book.good - 1) for book in self._world.rows.values())

    def _judge_limits(self) -> None:
        """Neither a sliding minute nor a bucket of one second ever saw more than the run file declares."""
        held_s = 2 * self._held_s  # an intent waits for the write under way, and for its own
        for what, limit, amounts in (
            ("requests", self._rpm, [(at, 1) for at, _ in self._world.asked]),
            ("tokens", self._tpm, self._world.asked),
        ):
            rate, first, inside, lowest, total = limit / 60, 0, 0, float("inf"), 0
            for at, amount in amounts:
                inside += amount
                while amounts[first][0] <= at - 60:
                    inside -= amounts[first][1]
                    first += 1
                lowest = min(lowest, total - rate * at)
                total += amount
                beyond = total - rate * at - lowest - max(rate, amount) - rate * held_s
                if inside > limit + rate * held_s + 1e-6:
                    self._broken(f"{inside} {what} in the minute up to {at:.3f} s, {limit} are declared")
                    break
                if beyond > 1e-6:
                    self._broken(f"{beyond:.1f} {what} beyond a bucket of one second at {at:.3f} s")
                    break

    def _report(self) -> Report:
        return Report(
            seed=self.seed,
            rows=len(self._texts),
            shards=self._shards,
            outages=self._outages,
            crashes=self._crashes,
            changes=self._changes,
            starts=self._starts,
            seconds=round(self._now, 3),
            requests=len(self._world.asked),
            paid_again=self._paid_again,
            fates=dict(sorted(self._world.fates.items())),
            findings=tuple(self._findings),
            digest=self._world.digest.hexdigest()[:16],
        )
