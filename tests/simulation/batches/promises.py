"""Checks every promise after a simulated run through batches; one sentence for each violation."""

from __future__ import annotations

from collections.abc import Iterator

from simulation.batches.settings import OUT, Setting
from simulation.batches.world import BatchWorld
from simulation.stored_rows import complaints

from scorer.files.local_files import LocalFiles
from scorer.output import ledger
from scorer.output.verify.folder import verify
from scorer.rehearsal.reply_writer import ReplyWriter

_OWN_ERROR = {"poison": "TooLong", "refuse": "Refused", "null": "BadRow"}


def judge(setting: Setting, world: BatchWorld) -> Iterator[str]:
    """The violations of a run that has ended."""
    findings = verify(LocalFiles(), OUT).findings
    yield from (f"verify: {finding}" for finding in findings)
    if not findings:
        yield from _rows(setting, world)
    yield from money(setting, world, ended=True)
    yield from _payments(setting, world)
    yield from _batches(world)


def money(setting: Setting, world: BatchWorld, *, ended: bool) -> Iterator[str]:
    """The ledger has at least what was paid, and claims to know at most that; at the end it is equal."""
    totals = ledger.totals(LocalFiles(), f"{OUT}/ledger")
    known = totals.prompt_tokens + totals.completion_tokens
    if totals.pico > world.pico or known > world.tokens:
        yield f"the ledger claims {totals}; {world.tokens} tokens, {world.pico} pico-dollars were paid"
    lost_pico, lost_tokens = (0, 0) if setting.caps else (world.lost_pico, world.lost_tokens)
    if totals.money_pico < world.pico - lost_pico or totals.tokens < world.tokens - lost_tokens:
        yield f"the ledger admits {totals}; {world.tokens} tokens, {world.pico} pico-dollars were paid"
    certain = not any(one.unknown or one.lost for one in world.paid.values())
    if ended and certain and (totals.pico, known) != (world.pico, world.tokens):
        yield f"the ledger knows {totals}; {world.tokens} tokens, {world.pico} pico-dollars were paid"


def _rows(setting: Setting, world: BatchWorld) -> Iterator[str]:
    """Each input row once, in order, with its own verdict or an error that the provider explains."""
    writer = ReplyWriter(setting.config)

    def wrong(name: str, score: float | None, error: str | None) -> str | None:
        return _row(setting, world, name, float(writer.verdict(name).label), score, error)

    yield from complaints(OUT, len(setting.shards), len(setting.texts), wrong)


def _row(
    setting: Setting, world: BatchWorld, name: str, verdict: float, score: float | None, error: str | None
) -> str | None:
    kind, config = setting.kinds[name], setting.config
    if score is not None:
        right = kind in ("plain", "invalid") and score == verdict and error is None
        return None if right else f"the verdict on a {kind} row was {verdict}"
    if error == _OWN_ERROR.get(kind):
        return None
    if error in ("Unreadable", "Truncated"):
        return None if config.fault_prose or config.fault_null else "every reply had a verdict"
    if error == "Unavailable":
        return None if world.failures[name] >= setting.retries else f"it failed {world.failures[name]} times"
    if error == "Rejected":
        return None if kind == "invalid" or config.batch.fail else "no batch was refused for it"
    return "nothing explains it"


def _payments(setting: Setting, world: BatchWorld) -> Iterator[str]:
    """No request was paid twice, but for payments that nobody could have known of.

    Samples, and where the provider takes no seed further attempts, are requests of the same bytes.
    """
    bad = setting.config.fault_prose or setting.config.fault_null
    most = setting.samples * (setting.attempts if bad else 1)
    for one in world.paid.values():
        if one.batch + one.online - one.unknown - one.lost > most:
            yield f"a request of {one.row} was paid {one.batch} times in batches and {one.online} times online: {one}"


def _batches(world: BatchWorld) -> Iterator[str]:
    """Every batch that was paid for was fetched, and none is still under way."""
    stats = world.batches.stats(world.clock())
    if stats["under_way"]:
        yield f"{stats['under_way']} batches are under way, and nobody knows them"
    payments = world.batches.store.log.payments
    lost = {batch for batch in world.batches.store.batches.values() if batch.fates.get("lost_paid")}
    known = {id for batch in world.batches.store.batches.values() for id in batch.billed}
    unfetched = [id for id in payments if id in known and not payments[id].fetched]
    if unfetched:
        yield f"{len(unfetched)} requests were paid and never fetched, {unfetched[0]} for one ({len(lost)} with losses)"
