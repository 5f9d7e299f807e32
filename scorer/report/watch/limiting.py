"""What limits a run, as a sentence: the limit, and when the run would end with twice of it. Pure."""

from __future__ import annotations

from scorer.escapes import printable_line
from scorer.output.progress import Snapshot
from scorer.output.progress_lines import FARTHEST_ETA_S, batches_sentence, clock, duration, largest

LIMITS = {
    "tokens_per_minute": "tokens/min",
    "requests_per_minute": "requests/min",
    "input_tokens_per_minute": "input tokens/min",
    "output_tokens_per_minute": "output tokens/min",
    "concurrency": "requests in flight",
}
"""What the limits that pace a run are called, by their keys of the run file."""
_ELSE = {
    "retry_after": "Limited by the judge's 429s ({share} of the last minute): it allows less than the run file says.",
    "quota": "Limited by a quota of a day or longer at the judge ({share} of the last minute): it has to renew.",
    "ledger": "Waiting for disk ({share} of the last minute): ledger entries are written slowly.",
    "storage": "Waiting for disk ({share} of the last minute): results are stored slowly.",
    "budget": "A cap is nearly reached ({share} of the last minute): a request waits until those in flight are billed.",
    "opening": "Few requests are sent at first under a cap ({share} of the last minute), until their bills are known.",
    "lock": "Waiting for the lock of the output folder ({share} of the last minute).",
    "paused": "Resumed a short time ago: the run was paused {share} of the last minute.",
}
NAMES = {
    **LIMITS,
    "retry_after": "the judge's 429s",
    "quota": "the judge's quota",
    "ledger": "disk (ledger)",
    "storage": "disk (results)",
    "budget": "room under a cap",
    "opening": "the first bills under a cap",
    "lock": "the lock",
    "paused": "a pause",
}
"""What everything that can hold requests back is called, by the names in `held_back_by`."""
BINDS = 0.5
"""From this share of the last minute on a limit is said to limit the run, and a higher one to help."""
SURE_ROWS = 50
"""The cost of a row is extrapolated from so many rows on."""


def what_limits(s: Snapshot) -> str:
    """What limits a run that is under way, as a sentence."""
    if s.paused:
        if s.in_flight:
            return f"Paused: {s.in_flight:,} requests in flight are finished, and no other row is begun."
        return "Paused: nothing is in flight, and no row is begun. Only `p` on the machine of the run resumes it."
    if s.batches:
        out = batches_sentence(s.batches)
        if s.why is not None:
            return f"{out}. The provider does not answer now, and is asked again: {printable_line(s.why)}"
        return f"{out}. A provider answers a batch within a day, often sooner."
    if s.outage_s is not None or s.why is not None:
        since = "" if s.outage_s is None else f" for {duration(s.outage_s)}"
        why = "" if s.why is None else f" The last failure: {printable_line(s.why)}"
        return f"The judge does not answer{since}. One probe at a time is sent, and no row fails.{why}"
    held = largest(s.held_back_by)
    if not held:
        return "No limit is reached: requests wait for nothing."
    name, share = held[0]
    if share < BINDS:
        waits = ", ".join(f"{NAMES.get(name, printable_line(name))} {percent(share)}" for name, share in held)
        much = "Limited by several waits" if sum(share for _, share in held) >= BINDS else "Hardly limited"
        return f"{much}: {waits} of the last minute."
    if name not in LIMITS:
        known = _ELSE.get(name, f"Waiting for {printable_line(name)} ({{share}} of the last minute).")
        return known.format(share=percent(share))
    return f"Limited by {LIMITS[name]} ({percent(share)}){_doubled(s, name)}."


def _doubled(s: Snapshot, name: str) -> str:
    """When the run ends with twice of the limit, and what limits it then."""
    if s.eta_s is None or s.eta_s > FARTHEST_ETA_S or s.finished >= s.rows_total:
        return ""
    faster, then = speedup(s, name)
    if faster < 1.02:
        return f": doubling it does not help, since {LIMITS.get(then, then)} is used up too"
    now, sooner = clock(s.updated_at + s.eta_s, s.eta_s), clock(s.updated_at + s.eta_s / faster, s.eta_s)
    other = "" if then == name else f" (the next limit is {LIMITS.get(then, then)})"
    if sooner == now:
        return f": doubling it ends {duration(s.eta_s - s.eta_s / faster)} sooner{other}"
    return f": doubling it ends at {sooner}, not {now}{other}"


def speedup(s: Snapshot, name: str) -> tuple[float, str]:
    """How many times faster the run is with twice the limit `name`, and the limit that holds then.

    A limit whose use is u holds at 1 / u times the pace of now, where latency and tokens of a row stay the same.
    """
    holds = {
        other: (2.0 if other == name else 1.0) / min(1.0, use)
        for other, use in s.use.items()
        if other in LIMITS and use > 0
    }
    holds.setdefault(name, 2.0)
    first = min(holds, key=lambda other: (holds[other], other != name))
    return max(1.0, holds[first]), first


def over_budget(s: Snapshot) -> str | None:
    """That a cap ends the run before its last row, by the cost of a row so far. None where it does not."""
    if s.finished < SURE_ROWS or s.state != "running":
        return None
    tokens = s.prompt_tokens + s.completion_tokens + s.maybe_billed_tokens
    spent = {"max_usd": s.cost_usd + s.maybe_billed_usd, "max_tokens": tokens}
    worst: tuple[float, str] | None = None
    for name, amount in spent.items():
        if name in s.limits and amount > 0:
            reached = s.limits[name] / amount * s.finished / max(1, s.rows_total)
            if reached < 1 and (worst is None or reached < worst[0]):
                worst = reached, name
    if worst is None:
        return None
    return f"limits.{worst[1]} ends the run with about {percent(worst[0])} of the rows finished, at the cost so far."


def percent(share: float) -> str:
    """`91 %`, and `0.4 %` below one."""
    shown = min(max(share, 0.0), 9.99) * 100
    return f"{shown:.1f} %" if 0 < shown < 0.95 else f"{int(shown + 1e-9)} %"
