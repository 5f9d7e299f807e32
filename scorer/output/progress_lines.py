"""The progress of a run as three lines that fit a width.

The first line says how far the run is and when it is done, the second pace and cost, the third what limits it. Parts of
a line get shorter where it is too long, then the last ones go.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scorer.escapes import printable_line
from scorer.output.cost_text import cost_text
from scorer.text_width import cells, cropped

if TYPE_CHECKING:
    from scorer.output.progress import Snapshot

BAR = 20
FARTHEST_ETA_S = 10 * 365 * 86_400
"""An ETA beyond it, by a pace near 0, is no date of the calendar."""
Part = tuple[str, ...]
"""One thing to say, the longest wording first; "" where it may be left out."""


def three_lines(s: Snapshot, width: int) -> list[str]:
    """A snapshot as three lines of at most `width` columns; two where the run has ended and nothing is left to say."""
    lines = (
        fitted(_how_far(s), width, "  "),
        fitted(_pace_and_money(s), width, " | "),
        fitted(_what_limits(s), width, " | "),
    )
    return [line for line in lines if line]


def fitted(parts: Sequence[Part], width: int, separator: str) -> str:
    """The parts joined: each is shortened once, from the last to the first, until they fit, then each once more.

    Cropped where that does not help.
    """
    chosen = [0] * len(parts)
    while True:
        text = separator.join(
            word for part, at in zip(parts, chosen, strict=True) if (word := printable_line(part[at]))
        )
        if cells(text) <= width:
            return text
        longer = [i for i in reversed(range(len(parts))) if chosen[i] + 1 < len(parts[i])]
        if not longer:
            return cropped(text, width)
        chosen[min(longer, key=lambda i: chosen[i])] += 1


def _how_far(s: Snapshot) -> list[Part]:
    share = s.finished / s.rows_total if s.rows_total else 1.0
    full = int(share * BAR)
    rows = f"{s.finished:,} of {s.rows_total:,} rows"
    parts: list[Part] = [("█" * full + "░" * (BAR - full), ""), (f"{rows} ({_percent(share)})", rows)]
    if s.state != "running":
        parts.append((s.state,))
    elif s.eta_s is not None and s.finished < s.rows_total:
        if s.eta_s > FARTHEST_ETA_S:
            parts.append(("ETA over 10 years",))
        else:
            left = duration(s.eta_s)
            parts.append((f"ETA {clock(s.updated_at + s.eta_s, s.eta_s)} ({left})", f"ETA {left}"))
    failed = s.rows - s.scored
    if failed:
        names = ", ".join(f"{name} {count:,}" for name, count in sorted(s.errors.items(), key=lambda item: -item[1]))
        parts.append((f"{failed:,} failed ({names})", f"{failed:,} failed"))
    if s.copied:
        parts.append((f"{s.copied:,} copied", ""))
    return parts


def _pace_and_money(s: Snapshot) -> list[Part]:
    tokens = f"{s.tokens_per_minute:,.0f} tokens/min"
    limited = f"{s.tokens_per_minute:,.0f} of {s.tokens_limit:,.0f} tokens/min" if s.tokens_limit else tokens
    cost = cost_text(s.cost_usd, priced=s.priced)
    more = f" (+{s.maybe_billed_usd:.4f} possibly billed)" if s.maybe_billed_usd else ""
    cap = f", {_percent(s.use['max_usd'])} of max_usd" if "max_usd" in s.use else ""
    return [
        (f"{s.rows_per_s:,.1f} rows/s",),
        (limited, tokens),
        tuple(dict.fromkeys([cost + more + cap, cost + more, cost + cap, cost])),
        (f"{s.in_flight:,} in flight", ""),
    ]


def _what_limits(s: Snapshot) -> list[Part]:
    parts: list[Part] = []
    if s.state == "interrupted":
        parts.append(("The same command resumes.",))
    elif s.state == "running" and s.paused:
        parts.append(("paused: `p` in `scorer watch` resumes it", "paused"))
    elif s.state == "running" and s.batches:
        said = batches_sentence(s.batches)
        parts.append((said, said.partition(", oldest")[0]))
        if s.why is not None:
            parts.append((f"the provider does not answer: {s.why}", "the provider does not answer"))
    elif s.state == "running" and (s.outage_s is not None or s.why is not None):
        since = "" if s.outage_s is None else f" for {duration(s.outage_s)}"
        parts.append((f"no answer from the judge{since}, one probe at a time", f"no answer from the judge{since}"))
        if s.why is not None:
            parts.append((s.why,))
    elif s.state == "running":
        held = limited_by(s.held_back_by)
        parts.append((f"{held} (share of the last minute)", held) if held else ("no limit reached",))
    if s.publish_problem is not None:
        count = f"{s.to_publish} shards not published"
        parts.append((f"{count}: {s.publish_problem}", count))
    return parts


def batches_sentence(batches: Mapping[str, Any]) -> str:
    """`3 batches out, 41,200 rows, oldest 2 h 10 min`, from the `batches` of a snapshot."""
    out, rows, age = batches["out"], batches["rows"], batches["oldest_s"]
    oldest = "" if age is None else f", oldest {duration(age)}"
    return f"{out:,} batch{'' if out == 1 else 'es'} out, {rows:,} rows{oldest}"


def limited_by(shares: Mapping[str, float]) -> str:
    """What requests waited for in the last minute: "limited by tokens_per_minute 93%, waiting for disk 4.0%"; or ""."""
    kept = largest(shares)
    limits = ", ".join(f"{name} {_percent(share)}" for name, share in kept if name not in _NO_LIMIT)
    disk = ", ".join(f"{_NO_LIMIT[name]} {_percent(share)}" for name, share in kept if name in _NO_LIMIT)
    return ", ".join(filter(None, [f"limited by {limits}" if limits else "", disk]))


_NO_LIMIT = {
    "ledger": "waiting for disk",
    "storage": "waiting for results to be stored",
    "opening": "waiting for the first bills under a cap",
    "paused": "paused",
}
"""What a wait that no limit of the run file causes is called."""


def largest(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """The three limits that held requests back for longest, those below 1 % left out."""
    return sorted(((n, v) for n, v in shares.items() if v >= 0.01), key=lambda item: -item[1])[:3]


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{min(share, 1.0):.0%}" if share >= 1 else f"{int(share * 100)}%"


def clock(at: float, ahead_s: float) -> str:
    """The local time of a moment in seconds since 1970; with its date where it is a day ahead."""
    return time.strftime("%H:%M" if ahead_s < 86_400 else "%Y-%m-%d %H:%M", time.localtime(at))
