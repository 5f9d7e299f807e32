"""The status of a run as short texts, each with its name: for the commands and for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from scorer.counted import counted
from scorer.output.cost_text import cost_sentence
from scorer.output.progress_lines import batches_sentence, limited_by

if TYPE_CHECKING:
    from scorer.output.status import Status


def status_title(out: str, s: Status) -> str:
    """The output folder (where it is known) and the state of its run."""
    state = s.state + (" (a rehearsal: its scores are simulated)" if s.rehearsal else "")
    return f"{out}: {state}" if out else state


def tiers_used(tiers: Mapping[str, int]) -> str:
    """How many rows have replies of each service tier; "" where they name no tier but the standard one."""
    if not tiers.keys() - {"standard"}:
        return ""
    return ", ".join(f"{name} {count:,}" for name, count in tiers.items())


def status_facts(s: Status) -> Iterator[tuple[str, str]]:
    """Rows, errors, tokens, cost and pace."""
    yield (
        "rows",
        f"{s.rows:,}: {s.scored:,} scored, {s.failed:,} failed, {s.pending:,} pending"
        f" ({s.sealed} of {counted(s.shards, 'shard')} sealed)",
    )
    if s.selection is not None:
        parts = {"sample": s.selection["sample"], "where": s.selection["where"], "stop": s.selection.get("stop")}
        conditions = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
        yield "selection", f"{s.selection['rows']:,} of {s.selection['of']:,} rows: {conditions}"
    if s.batches is not None:
        yield "batches", batches_sentence(s.batches)
    if s.answer is not None:
        yield "answer", s.answer["text"]
    if s.copied:
        yield "copied", f"{counted(s.copied, 'row')} took the answer of an exact duplicate"
    if tiers := tiers_used(s.tiers):
        yield "tiers", tiers
    if s.errors:
        yield "errors", ", ".join(f"{name} {count:,}" for name, count in s.errors.items())
    if s.unmeasured:
        nulls = ", ".join(f"{name} in {count:,}" for name, count in s.unmeasured.items())
        yield "metrics", f"null (no text to measure, or the metric failed): {nulls} rows"
    yield "tokens", _tokens(s)
    why = "timeouts, crashes" if s.batches is None else "batches that are out, timeouts, crashes"
    maybe = f", and up to {s.maybe_billed_usd:.6f} USD possibly billed ({why})" if s.maybe_billed_usd else ""
    yield "cost", f"{cost_sentence(s.cost_usd, 6, priced=s.priced)}{maybe}"
    if s.state != "running":
        yield "pace", f"{s.rows_per_s:,.1f} rows/s in the last minute of work"
    else:
        yield "pace", f"{s.rows_per_s:,.1f} rows/s, {limited_by(s.held_back_by) or 'no limit reached'}"
    if s.why:
        yield "judge", f"{'does' if s.state == 'running' else 'did'} not answer: {s.why}"
    if s.suspect is not None:
        yield (
            "suspect",
            f"rows finished from {s.suspect['since']} to {s.suspect['until']}: the judge had drifted; "
            "`scorer retry OUT --suspect` scores them again",
        )
    yield from (("unreadable", path) for path in s.unreadable)


def _tokens(s: Status) -> str:
    if not s.requests:
        return "none: no request was billed"  # recorded replies, or rows that cannot be asked
    reasoning = f" ({s.reasoning_tokens:,} reasoning)" if s.reasoning_tokens else ""
    more = f", up to {s.maybe_billed_tokens:,} more possibly billed" if s.maybe_billed_tokens else ""
    return (
        f"{s.prompt_tokens:,} in ({s.cached_tokens:,} cached), {s.completion_tokens:,} out{reasoning}{more}, in "
        f"{counted(s.requests, 'request')}"
    )
