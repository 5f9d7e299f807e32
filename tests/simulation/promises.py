"""Checks every promise after a simulated run, against the judge's own records; one sentence for each violation.

Limits, caps and progress are watched while it goes on, by `world`; here is what only the end can show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulation.settings import OUT, Setting
from simulation.stored_rows import complaints
from simulation.world import RowCounts, World

from scorer.files.local_files import LocalFiles
from scorer.output import ledger
from scorer.output.verify.folder import verify
from scorer.rehearsal.reply_writer import ReplyWriter

_OWN_ERROR = {"poison": "TooLong", "refuse": "Refused", "null": "BadRow", "damaged": "Damaged"}


def judge(setting: Setting, world: World, *, losses: int) -> Iterator[str]:
    """The violations. `losses` is the number of crashes with unwritten results."""
    findings = verify(LocalFiles(), OUT).findings
    yield from (f"verify: {finding}" for finding in findings)
    if not findings:
        yield from _rows(setting, world)
    yield from _ledger(setting, world)
    bound = losses * (setting.concurrency + 2 * setting.flush_rows)
    if setting.topics:  # what is known dies with the process: each topic may be asked again for rows still open
        bound = losses * len(world.rows)
    if world.paid_again > bound:
        yield f"{world.paid_again} verdicts were paid again, {bound} may be"
    requests = [(at, 1) for at, _ in world.asked]
    yield from _limit("requests", setting.requests_per_minute, requests)
    yield from _limit("tokens", setting.tokens_per_minute, world.asked)


def _rows(setting: Setting, world: World) -> Iterator[str]:
    """Each input row once, in order, with the verdict that the judge gave or the error that it had."""
    writer = ReplyWriter(setting.config)

    def wrong(name: str, score: float | None, error: str | None) -> str | None:
        topic = setting.topic(name)
        verdict = float(writer.verdict(topic).label)
        said = _row(setting, world.rows[topic], setting.kinds[name], verdict, score, error)
        return None if said is None else f"{said}; {world.rows[topic]}"

    # Of a damaged row nothing could be read.
    yield from complaints(OUT, len(setting.shards), len(setting.texts), wrong, nameless=("BadRow", "Damaged"))


def _row(
    setting: Setting, counts: RowCounts, kind: str, verdict: float, score: float | None, error: str | None
) -> str | None:
    """What is wrong with a row's result; None where it fits the judge's records."""
    if (score is None) is (error is None):
        return "it must have one of the two"
    if score is not None:
        right = kind == "plain" and counts.good and score == verdict
        return None if right else f"the judge's verdict on a {kind} row was {verdict}"
    if error == _OWN_ERROR.get(kind):
        return None
    if error in ("Unreadable", "Truncated"):
        return None if counts.bad >= 3 else "it had no three replies without a verdict"
    if error == "Unavailable":
        enough = counts.failures + counts.throttles / 10 >= setting.retries
        return None if enough else "an outage is no fault of its own"
    return "nothing explains it"


def _ledger(setting: Setting, world: World) -> Iterator[str]:
    """The ledger claims at most what was billed; with a cap it has all that was billed."""
    totals = ledger.totals(LocalFiles(), f"{OUT}/ledger")
    known = totals.prompt_tokens + totals.completion_tokens
    if known > world.billed_tokens or totals.pico > world.billed_pico:
        yield f"the ledger claims {totals}; {world.billed_tokens} tokens, {world.billed_pico} pico-dollars were billed"
    if setting.lie and totals.requests > world.truth.tellings:
        yield f"the ledger knows {totals.requests} bills, {world.truth.tellings} were reported"
    # What a dishonest judge reported to nobody, for its reply did not arrive, is admitted at its reservation.
    unreported_tokens, unreported_pico = world.truth.unreported if world.truth.beyond(1) != (0, 0) else (0, 0)
    missing = (
        world.billed_tokens - unreported_tokens > totals.tokens
        or world.billed_pico - unreported_pico > totals.money_pico
    )
    if setting.caps and missing:
        yield f"the ledger admits {totals}; {world.billed_tokens} tokens, {world.billed_pico} pico-dollars were billed"


def _limit(what: str, limit: float, asked: Sequence[tuple[float, int]]) -> Iterator[str]:
    """Neither a sliding minute nor a bucket of one second had more requests than declared, however slow the disk."""
    rate, first, inside, lowest, total = limit / 60, 0, 0, float("inf"), 0
    for at, amount in asked:
        inside += amount
        while asked[first][0] <= at - 60:
            inside -= asked[first][1]
            first += 1
        lowest = min(lowest, total - rate * at)
        total += amount
        if inside > limit + 1e-6:
            yield f"{inside} {what} in the minute up to {at:.3f} s, {limit} are declared"
            return
        beyond = total - rate * at - lowest - max(rate, amount)
        if beyond > 1e-6:
            yield f"{beyond:.1f} {what} beyond a bucket of one second at {at:.3f} s"
            return
