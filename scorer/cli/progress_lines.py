"""The progress of a run on a terminal: three lines, drawn anew in place, of which the last state remains.

The first line says how far and when it is done, the second pace and money, the third what limits it. Each fits the
terminal's width: its parts get shorter, then the last ones go.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scorer.cli.stdio import raw_to_stderr
from scorer.cli.text_width import cells, cropped
from scorer.escapes import printable_line

if TYPE_CHECKING:
    from scorer.output.progress import Snapshot

NARROWEST = 20
BAR = 20
Part = tuple[str, ...]
"""One thing to say, the longest wording first; "" where it may be left out."""


class Block:
    """Lines at the bottom of stderr. `draw` replaces them, `above` writes a text that stays before them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def draw(self, lines: Sequence[str]) -> None:
        """Shows these lines in place of those drawn before; each has to be narrower than the terminal."""
        erased = self._erased()
        self._lines = list(lines)
        raw_to_stderr(erased + "".join(f"{line}\n" for line in lines))

    def above(self, text: str) -> None:
        """Writes a safe text, and the lines again after it."""
        raw_to_stderr(self._erased() + text + "\n" + "".join(f"{line}\n" for line in self._lines))

    def _erased(self) -> str:
        """What moves the cursor to the first line drawn and clears from there on.

        A terminal that became narrower has wrapped the lines since.
        """
        width, height = size()
        rows = sum(max(1, -(-cells(line) // width)) for line in self._lines)
        rows = min(rows, height - 1)
        return f"\x1b[{rows}A\r\x1b[J" if rows else "\r\x1b[K"


def size() -> tuple[int, int]:
    """Columns and lines of the terminal on stderr; 80 and 24 where it does not say."""
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        columns, lines = 0, 0
    fallback = shutil.get_terminal_size()
    return max(NARROWEST, columns or fallback.columns), max(2, lines or fallback.lines)


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
        left = duration(s.eta_s)
        parts.append((f"ETA {_clock(s.updated_at + s.eta_s, s.eta_s)} ({left})", f"ETA {left}"))
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
    cost = f"{s.cost_usd:.4f} USD"
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


def limited_by(shares: Mapping[str, float]) -> str:
    """What requests waited for in the last minute: "limited by tokens_per_minute 93%, waiting for disk 4.0%"; or ""."""
    kept = largest(shares)
    limits = ", ".join(f"{name} {_percent(share)}" for name, share in kept if name not in _ON_DISK)
    disk = ", ".join(f"{_ON_DISK[name]} {_percent(share)}" for name, share in kept if name in _ON_DISK)
    return ", ".join(filter(None, [f"limited by {limits}" if limits else "", disk]))


_ON_DISK = {"ledger": "waiting for disk", "storage": "waiting for results to be stored"}
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


def _clock(at: float, ahead_s: float) -> str:
    """The local time; with its date where that is not within a day."""
    return time.strftime("%H:%M" if ahead_s < 86_400 else "%Y-%m-%d %H:%M", time.localtime(at))
