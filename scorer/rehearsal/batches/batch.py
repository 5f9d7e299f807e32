"""One simulated batch: what has become of it at a given time. Advances only when it is asked."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, BinaryIO, Literal, Protocol

from scorer.frozen import dataclass
from scorer.rehearsal.batches.ask import parsed, spooled
from scorer.rehearsal.batches.config import LINE_FAULTS, BatchConfig
from scorer.rehearsal.batches.log import BILLED, BatchLog, LineFate
from scorer.rehearsal.batches.requests_file import FileRefused, Line, RequestsFile
from scorer.rehearsal.request_body import Endpoint
from scorer.rehearsal.simulator import Outcome, RehearsalJudge

State = Literal["validating", "in_progress", "finalizing", "ended", "failed"]


class Wording(Protocol):
    """How a protocol writes its result lines."""

    def result(self, fate: LineFate, line: Line, outcome: Outcome | None) -> bytes:
        """A result line, with its line feed. `outcome` is None where the line was not executed."""
        ...

    def foreign(self, number: int) -> bytes:
        """The result of a request that was never made."""
        ...

    def in_error_file(self, fate: LineFate) -> bool: ...


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What a batch is worked on with."""

    judge: RehearsalJudge
    log: BatchLog
    config: BatchConfig
    wording: Wording
    endpoint: Endpoint
    tier: str | None
    enqueued: Callable[[str, float], int]
    """The prompt tokens of the other batches of a model, at a time."""


class SimulatedBatch:
    """A batch that was made at `made_at`. `read` opens and validates its requests: those, their model, prompt tokens.

    Times are those of the caller. `at` holds when each state began. After its end `output` and `errors` are its files;
    `billed` are the custom_ids in its results that were paid.
    """

    def __init__(
        self,
        id: str,
        made_at: float,
        read: Callable[[], tuple[RequestsFile, str, int]],
        about: BatchContext,
        rng: Random,
        extra: Mapping[str, Any],
    ) -> None:
        self.id, self.made_at, self.extra = id, made_at, dict(extra)
        self.state: State = "validating"
        self.at: dict[State | Literal["cancel"], float] = {"validating": made_at}
        self.problem: FileRefused | None = None
        self.model, self.tokens = "", 0
        self.fates: dict[LineFate, int] = {}
        self.output, self.errors = spooled(), spooled()
        self.billed: list[str] = []
        self.nulls = False
        self._read, self._about, self._rng = read, about, rng
        self._requests: RequestsFile | None = None
        self._order: array[int] = array("L")
        self._done = 0
        self._stop_at = 1.0  # the share of the lines after which it expires
        self._late = self._shows = False
        self._again: list[tuple[BinaryIO, bytes]] = []

    @property
    def total(self) -> int:
        return len(self._order)

    @property
    def ended_at(self) -> float | None:
        return self.at.get("ended", self.at.get("failed"))

    @property
    def outcome(self) -> Literal["completed", "cancelled", "expired"]:
        """How it ended. Every other cancel that came too late shows all the same."""
        if self.fates.get("expired"):
            return "expired"
        return "cancelled" if self.fates.get("canceled") or self._shows else "completed"

    def count(self, *fates: LineFate) -> int:
        return sum(self.fates.get(fate, 0) for fate in fates)

    def cancel(self, now: float) -> None:
        """Asks for its end; nothing where it has ended, or was asked before."""
        if "cancel" not in self.at and self.state in ("validating", "in_progress"):
            self.at["cancel"] = now
            self._late = self._rng.random() < self._about.config.late_cancel
            self._shows = self._late and self._rng.random() < 0.5
            self._about.log.note("late_cancels" if self._late else "cancels")

    def advance(self, now: float) -> None:
        """Brings it to what it is at `now`."""
        config = self._about.config
        if self.state == "validating" and now >= (then := self.made_at + config.validate_s):
            self._validate(then)
        if self.state == "in_progress":
            self._work(now)
        if self.state == "finalizing" and now >= (then := self.at["finalizing"] + config.finalize_s):
            self.nulls = self._rng.random() < config.null_output
            self._enter("ended", then)
            self._about.log.note(self.outcome)

    def _enter(self, state: State, at: float) -> None:
        self.state = state
        self.at[state] = at

    def _validate(self, now: float) -> None:
        about, draw = self._about, self._rng.random
        try:
            if draw() < about.config.fail:
                raise FileRefused("server_error", "The batch failed for a reason that is not told.")
            self._requests, self.model, self.tokens = self._read()
            limit, others = about.config.enqueued_tokens, about.enqueued(self.model, now)
            if (limit and others + self.tokens > limit) or draw() < about.config.token_limit:
                raise FileRefused(
                    "token_limit_exceeded",
                    f"Enqueued token limit reached for {self.model}. Limit: {limit:,} enqueued tokens. Please try "
                    "again once some in_progress batches have been completed.",
                )
        except FileRefused as problem:
            self.problem, self.tokens = problem, 0
            about.log.note("failed")
            self._enter("failed", now)
            return
        self._order = array("L", range(len(self._requests)))
        self._rng.shuffle(self._order)
        self._stop_at = draw() if draw() < about.config.expire else 1.0
        about.log.counts["most_enqueued_tokens"] = max(about.log.counts["most_enqueued_tokens"], others + self.tokens)
        self._enter("in_progress", now)

    def _work(self, now: float) -> None:
        config, began, total = self._about.config, self.at["in_progress"], self.total
        window_ends = self.made_at + config.window_s
        expires = min(window_ends, began + self._stop_at * config.work_s) if self._stop_at < 1 else window_ends
        cancelled = self.at["cancel"] + config.cancel_s if "cancel" in self.at and not self._late else float("inf")
        stops = max(began, min(expires, cancelled))
        until = min(now, stops)
        share = 1.0 if not config.work_s else (until - began) / config.work_s
        due = min(total, int(total * share + 1e-9))
        while self._done < due:
            self._execute(self._order[self._done], until)
            self._done += 1
        whole = began + config.work_s
        if self._done < total and now >= stops:
            fate: LineFate = "canceled" if cancelled <= expires else "expired"
            for number in self._order[self._done :]:
                self._settle(fate, self._line(number), None)
            self._finish(stops)
        elif self._done == total and now >= whole:
            self._finish(whole)

    def _line(self, number: int) -> Line:
        assert self._requests is not None
        return self._requests[number]

    def _execute(self, number: int, now: float) -> None:
        about, line, drawn = self._about, self._line(number), self._rng.random()
        for fault in LINE_FAULTS:
            drawn -= about.config.share(f"{fault}_lines")
            if drawn < 0 and fault != "lost_paid":
                self._settle(fault, line, None)
                return
            if drawn < 0:
                break
        body, misses = parsed(line.body), about.config.cache_misses
        outcome = about.judge.in_batch(about.endpoint, body, now, self._rng, about.tier, misses)
        billed: LineFate = "lost_paid" if drawn < 0 else "paid"
        self._settle(billed if outcome.fate == "ok" else "declined", line, outcome)

    def _settle(self, fate: LineFate, line: Line, outcome: Outcome | None) -> None:
        about, config = self._about, self._about.config
        self.fates[fate] = self.fates.get(fate, 0) + 1
        row, bill = (outcome.row, outcome.bill) if outcome is not None else ("", Outcome(0, b"", "failed").bill)
        about.log.line(fate, line.custom_id, row, line.body, bill)
        if fate in ("lost", "lost_paid"):
            return
        file = self.errors if about.wording.in_error_file(fate) else self.output
        text = about.wording.result(fate, line, outcome)
        file.write(text)
        if fate in BILLED:
            self.billed.append(line.custom_id)
        if self._rng.random() < config.twice_lines:
            self._again.append((file, text))
        if self._rng.random() < config.foreign_lines:
            self._again.append((file, about.wording.foreign(self._done)))

    def _finish(self, at: float) -> None:
        for file, text in self._again:
            file.write(text)
        self._again.clear()
        self._requests = None
        self._enter("finalizing", at)
