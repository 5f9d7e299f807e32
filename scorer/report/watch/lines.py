"""The live view as lines that fit a terminal: a pure function of what was seen of a run. Draws nothing."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scorer.escapes import printable_line
from scorer.output.cost_text import cost_text
from scorer.output.progress import Snapshot
from scorer.output.progress_lines import FARTHEST_ETA_S, Part, clock, duration, fitted
from scorer.output.status_facts import tiers_used
from scorer.report.watch.limiting import LIMITS, over_budget, percent, what_limits
from scorer.report.watch.source import Seen
from scorer.text_width import cells, cropped

_RATES = tuple(name for name in LIMITS if name != "concurrency")
"""Limits that batches do not have."""
LABEL = 20
"""Columns of the label of a line."""
LONG = 200
"""Columns of a part of a plain line, which no terminal bounds."""
ROOMY = 60
"""From this width on there are labels and bars."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the view. `style` is "", "bold", "dim", "warn" or "bad"."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The lines at the foot: what can be typed, what is being typed, and the answer to the last change.

    Of each part the first wording is the longest, and a shorter one is for narrow terminals.
    """

    keys: Sequence[Part] = ()
    typed: Part | None = None
    answer: str | None = None


def watch_lines(seen: Seen, prompt: Prompt, width: int, height: int) -> list[Line]:
    """At most `height` lines of at most `width` columns. What there is no room for is left out, the least needed first.

    The first line names the run, and the last one says what can be typed.
    """
    blocks = [[_title(seen, width)], *_body(seen, width)]
    foot = _foot(prompt, width)
    room = max(0, height - len(foot))
    while blocks and sum(map(len, blocks)) > room:
        empty = next((at for at, block in enumerate(blocks) if not block[0].text), None)
        if empty is not None:
            blocks.pop(empty)
        elif len(blocks) > 1:
            blocks.pop()
        else:
            blocks = [blocks[0][:room]] if room else []
    lines = [line for block in blocks for line in block]
    lines += [Line("")] * (height - len(lines) - len(foot))
    return [Line(cropped(line.text, width), line.style) for line in (lines + foot)[-height:]]


def plain_line(seen: Seen) -> str:
    """The same in one line of text, for logs and screen readers."""
    s = seen.snapshot
    if s is None:
        return f"{seen.state}: {_clean(seen.out)}"
    at = time.strftime("%H:%M:%S", time.localtime(s.updated_at))
    parts = [
        f"{at} {'paused' if s.paused and seen.state == 'running' else seen.state}",
        _finished(s, LONG),
        f"{s.rows_per_s:,.1f} rows/s",
        ", ".join(_money(s)),
        f"{s.in_flight:,} in flight",
        f"tiers: {tiers}" if (tiers := tiers_used(s.tiers)) else "",
        f"failed: {', '.join(_errors(s))}" if s.errors else "",
        _sentence(seen, s),
        *_warnings(seen, s),
    ]
    return " | ".join(filter(None, parts))


def _title(seen: Seen, width: int) -> Line:
    s = seen.snapshot
    state = "paused" if s is not None and s.paused and seen.state == "running" else seen.state
    short = f"rehearsal, {state}" if seen.rehearsal else state
    whole = f"{short}, process {s.pid} on {printable_line(s.host)}" if s is not None and s.host else short
    left = f"scorer watch {_clean(seen.out)}"
    for right in (whole, short):
        gap = width - cells(left) - cells(right)
        if gap >= 2:
            return Line(left + " " * gap + right, "bold")
    return Line(cropped(f"{short}  {_clean(seen.out)}", width), "bold")


def _body(seen: Seen, width: int) -> list[list[Line]]:
    """The blocks below the title, the most needed first, with empty lines between groups."""
    s = seen.snapshot
    if s is None:
        return [[Line("")], [Line("The run is starting: it reads its input and repairs its output.")]]
    warnings = [Line(text, "warn") for text in _warnings(seen, s) for text in wrapped_lines(text, width)]
    blocks = [
        [Line("")],
        [_how_far(s, width)],
        [Line(text, "bad" if s.outage_s is not None else "bold") for text in wrapped_lines(_sentence(seen, s), width)],
        *([warnings] if warnings else []),
        [Line("")],
        [_line("rows", _rows(s), width)],
        *([[_line("tiers", [tiers], width)]] if (tiers := tiers_used(s.tiers)) else []),
        *([[_line("errors", _errors(s), width, "warn")]] if s.errors else []),
        *([line] for line in limit_lines(s, width)),
        [_line("money", _money(s), width)],
        *([[_line("latency", _latency(s), width)]] if s.latency_s or s.batches is None else []),
    ]
    if s.last_change is not None:
        blocks += [[Line("")], [Line(text, "dim") for text in wrapped_lines(_last_change(s), width)]]
    return blocks


def _sentence(seen: Seen, s: Snapshot) -> str:
    if seen.silent_s is not None:
        return f"The run has written no progress for {duration(seen.silent_s)}. Its lock is held: it is slow, or hangs."
    if seen.state == "starting":
        return "The run is starting. What stands below is of its last start."
    if seen.state == "ending":
        return "All rows that could be scored are stored. The run is ending: it publishes what is not published yet."
    return what_limits(s)


def _warnings(seen: Seen, s: Snapshot) -> list[str]:
    found = [over_budget(s)]
    if s.publish_problem is not None:
        found.append(f"{s.to_publish} shards are not published: {_clean(s.publish_problem)}")
    if seen.problem is not None:
        found.append(_clean(seen.problem))
    return [text for text in found if text is not None]


def _share(s: Snapshot) -> float:
    return min(1.0, s.finished / s.rows_total) if s.rows_total else 1.0


def _finished(s: Snapshot, width: int) -> str:
    """How many rows are finished, and when all are."""
    rows = f"{s.finished:,} of {s.rows_total:,} rows"
    parts: list[Part] = [(f"{rows} ({percent(_share(s))})", rows)]
    if s.state == "running" and not s.paused and s.eta_s is not None and s.finished < s.rows_total:
        if s.eta_s <= FARTHEST_ETA_S:
            ends = f"ETA {clock(s.updated_at + s.eta_s, s.eta_s)}"
            parts.append((f"{ends} ({duration(s.eta_s)})", ends))
        else:
            parts.append(("ETA over 10 years",))
    return fitted(parts, width, "  ")


def _how_far(s: Snapshot, width: int) -> Line:
    words = _finished(s, width)
    room = min(60, width - cells(words) - 2)
    return Line(f"{bar(_share(s), room)}  {words}" if room >= 10 else words)


def bar(share: float, width: int) -> str:
    """A bar of this many columns."""
    full = int(min(1.0, max(0.0, share)) * width)
    return "█" * full + "░" * (width - full)


def _rows(s: Snapshot) -> list[str]:
    parts = [f"{s.rows_per_s:,.1f}/s", f"{s.scored:,} scored", f"{s.rows - s.scored:,} failed"]
    if s.copied:
        parts.append(f"{s.copied:,} copied")
    if s.rows_before:
        parts.append(f"{s.rows_before:,} of earlier starts")
    return parts


def _errors(s: Snapshot) -> list[str]:
    return [f"{_clean(name)} {count:,}" for name, count in sorted(s.errors.items(), key=lambda item: -item[1])]


def limit_lines(s: Snapshot, width: int) -> list[Line]:
    """A line for each limit that paces the run: its use as a bar, in numbers, and how long requests waited for it."""
    lines = []
    paced = {name: limit for name, limit in s.limits.items() if s.batches is None or name not in _RATES}
    for name, shown in LIMITS.items():
        if name not in paced:
            continue
        limit, use, waits = s.limits[name], s.use.get(name, 0.0), s.held_back_by.get(name, 0.0)
        used = s.in_flight if name == "concurrency" else limit * use
        numbers = f"{used:,.0f} of {limit:,.0f}"
        parts = [f"{percent(min(use, 1.0)):>5}  {numbers}"]
        if waits >= 0.01:
            parts.append(f"waits {percent(waits)}")
        lines.append(_line(shown, parts, width, "warn" if waits >= 0.5 else "", share=use))
    for name, value in (("requests_per_minute", s.requests_per_minute), ("tokens_per_minute", s.tokens_per_minute)):
        if name not in paced:
            lines.append(_line(LIMITS[name], [f"{value:,.0f}", "no limit" + " in batches" * (name in s.limits)], width))
    return lines


def _money(s: Snapshot) -> list[str]:
    cap = s.limits.get("max_usd")
    parts = [cost_text(s.cost_usd, priced=s.priced)]
    if cap is not None:  # the price is known
        parts = [f"{s.cost_usd:,.4f} of {cap:,.2f} USD ({percent(s.use.get('max_usd', 0.0))})"]
    if s.maybe_billed_usd:
        parts.append(f"{s.maybe_billed_usd:,.4f} possibly billed")
    if s.cost_usd and s.finished and s.finished < s.rows_total:
        parts.append(f"about {s.cost_usd / s.finished * s.rows_total:,.2f} in all")
    if "max_tokens" in s.limits:
        tokens = s.prompt_tokens + s.completion_tokens + s.maybe_billed_tokens
        parts.append(f"{tokens:,} of {s.limits['max_tokens']:,.0f} tokens ({percent(s.use.get('max_tokens', 0.0))})")
    return parts


def _latency(s: Snapshot) -> list[str]:
    if not s.latency_s:
        return ["no reply yet"]
    return [f"{_clean(name)} {seconds:,.2f} s" for name, seconds in s.latency_s.items()]


def _last_change(s: Snapshot) -> str:
    at = "" if s.last_change_at is None else f" at {time.strftime('%H:%M:%S', time.localtime(s.last_change_at))}"
    return f"Last change{at}: {_clean(s.last_change or '')}"


def _line(label: str, parts: list[str], width: int, style: str = "", share: float | None = None) -> Line:
    """A label, a bar where there is room for it, and parts of which the last are left out where they do not fit."""
    shown = list(parts)
    head = f"{label:<{LABEL}}" if width >= ROOMY else f"{label} "
    if share is not None and width >= ROOMY:
        head += bar(share, min(40, (width - LABEL) // 4)) + " "
    while len(shown) > 1 and cells(head + "   ".join(shown)) > width:
        shown.pop()
    return Line(head + "   ".join(shown), style)


def _foot(prompt: Prompt, width: int) -> list[Line]:
    lines = [Line(text, "warn") for text in (wrapped_lines(_clean(prompt.answer), width) if prompt.answer else [])]
    if prompt.typed is not None:
        lines.append(Line(fitted([prompt.typed], width, ""), "bold"))
    return [*lines, Line(fitted(prompt.keys, width, "   "), "dim")]


def wrapped_lines(text: str, width: int) -> list[str]:
    """A sentence in lines of a width."""
    return textwrap.wrap(text, width) or [""]


def _clean(text: str) -> str:
    return printable_line(text)
