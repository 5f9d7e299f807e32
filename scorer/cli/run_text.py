"""The results of status, plan, verify, publish and rehearse as text."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from scorer.cli.text_table import wrapped
from scorer.output.progress_lines import duration, limited_by

if TYPE_CHECKING:
    from scorer.job.estimate import Estimate
    from scorer.output.status import Status
    from scorer.output.verify.folder import Verdict
    from scorer.publish.publish import Published
    from scorer.report.write import WrittenReport


def summary_text(out: str, s: Status) -> str:
    """The summary of a run: state, rows, errors, tokens, cost, pace."""
    lines = [
        f"{out}: {s.state}" + (" (a rehearsal: its scores are simulated)" if s.rehearsal else ""),
        f"  rows       {s.rows:,}: {s.scored:,} scored, {s.failed:,} failed, {s.pending:,} pending"
        f" ({s.sealed} of {s.shards} shards sealed)",
    ]
    if s.selection is not None:
        parts = {"sample": s.selection["sample"], "where": s.selection["where"]}
        conditions = ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)
        lines.append(f"  selection  {s.selection['rows']:,} of {s.selection['of']:,} rows: {conditions}")
    if s.copied:
        lines.append(f"  copied     {s.copied:,} rows took the answer of an exact duplicate")
    if s.errors:
        lines.append("  errors     " + ", ".join(f"{name} {count:,}" for name, count in s.errors.items()))
    if s.unmeasured:
        nulls = ", ".join(f"{name} in {count:,}" for name, count in s.unmeasured.items())
        lines.append(f"  metrics    null (no text to measure, or the metric failed): {nulls} rows")
    reasoning = f" ({s.reasoning_tokens:,} reasoning)" if s.reasoning_tokens else ""
    lines.append(
        f"  tokens     {s.prompt_tokens:,} in ({s.cached_tokens:,} cached), {s.completion_tokens:,} out{reasoning}, in "
        f"{s.requests:,} requests"
    )
    lines.append(
        f"  cost       {s.cost_usd:.6f} USD"
        + (
            f", and up to {s.maybe_billed_usd:.6f} USD possibly billed (timeouts, crashes)"
            if s.maybe_billed_usd
            else ""
        )
    )
    if s.state != "running":
        lines.append(f"  pace       {s.rows_per_s:,.1f} rows/s in the last minute of work")
    else:
        lines.append(f"  pace       {s.rows_per_s:,.1f} rows/s, {limited_by(s.held_back_by) or 'no limit reached'}")
    if s.why:
        lines.append(f"  judge      {'does' if s.state == 'running' else 'did'} not answer: {s.why}")
    lines += [f"  unreadable {path}" for path in s.unreadable]
    lines.append(f"  scores     {out}/scores/*.parquet")
    return "\n".join(lines)


def findings_text(out: str, verdict: Verdict) -> str:
    """What `scorer verify` found, for a person."""
    lines = [*verdict.findings]
    if verdict.damaged:
        lines.append(
            f"{len(verdict.damaged)} damaged: restore what you have a copy of; the rest, the next `scorer run` keeps "
            f"in {out}/damaged, and scores its rows again."
        )
    lines += [f"Not checked: {sentence}" for sentence in verdict.unchecked]
    return "\n".join(lines)


def plan_text(e: Estimate) -> str:
    """The estimate of a run: rows, tokens, cost, time."""
    spread = "" if e.prompt_tokens_low == e.prompt_tokens_high else (
        f" (95 %: {e.prompt_tokens_low:,} to {e.prompt_tokens_high:,})"
    )  # fmt: skip
    cost = (
        "unknown: no price is known for this model; add model.price" if e.cost_usd is None else f"{e.cost_usd:.4f} USD"
    )
    lines = [
        f"rows        {e.rows:,} in {e.shards} shards, {e.requests:,} requests",
        f"tokens in   {e.prompt_tokens:,}{spread}, counted by {e.tokeniser}",
        f"tokens out  {e.completion_tokens_estimate:,} ({_learned(e)})",
        f"cost        {cost}{_range(e)}",
        *([f"price       {_price(e)}"] if e.price is not None else []),
        f"time        {duration(e.seconds)}{_times(e)}, limited by {e.binding_limit}",
    ]
    if not e.learned_rows:
        lines.append(
            f"assumed     {e.seconds_a_request:g} s a request; after `scorer run --sample 100` the finished rows tell"
        )
    if e.prompt_tokens:
        share = e.shared_prefix_tokens / e.prompt_tokens
        lines.append(f"prefix      {share:.0%} of input tokens repeat the previous prompt's prefix (cacheable)")
    if e.repeated_rows:
        lines.append(f"duplicates  {e.repeated_rows:,} rows are exact duplicates")
    if e.max_usd is not None and e.cost_usd is not None and e.cost_usd > e.max_usd:
        lines.append(f"budget      limits.max_usd = {e.max_usd:g} will stop it before the end")
    lines += [f"bad rows    {count:,}: {reason}" for reason, count in e.rows_bad.items()]
    lines += [f"advice      {advice}" for advice in e.advice]
    return "\n".join(wrapped(line, indent=12) for line in lines)


def _learned(e: Estimate) -> str:
    if e.learned_rows:
        return f"as the {e.learned_rows:,} rows took that are finished"
    if e.requests and not e.completion_tokens_estimate:
        return "a classifier writes no text"
    return "estimated: between the shortest reply and model.max_output_tokens; some finished rows will tell better"


def _times(e: Estimate) -> str:
    if duration(e.seconds_low) == duration(e.seconds_worst):
        return ""
    return f" ({duration(e.seconds_low)} to {duration(e.seconds_worst)})"


def _range(e: Estimate) -> str:
    if e.cost_low is None or e.cost_worst is None or e.cost_low == e.cost_worst:
        return ""
    if e.learned_rows:
        return f" ({e.cost_low:.4f} to {e.cost_worst:.4f}, the 95 % interval)"
    return f" ({e.cost_low:.4f} with the shortest replies, {e.cost_worst:.4f} with the longest)"


def _price(e: Estimate) -> str:
    assert e.price is not None
    text = f"{e.price['input']:g} in, {e.price['output']:g} out, USD per million tokens: {e.price_source}"
    if e.price_date is None:
        return text
    days = (datetime.now(UTC).date() - date.fromisoformat(e.price_date)).days
    age = "today" if days <= 0 else f"{days} day{'s' * (days > 1)} ago"
    return f"{text}, {e.price_date} ({age})"


def published_text(done: Published) -> str:
    """What `scorer publish` did, for a person."""
    there = done.sealed - done.committed
    lines = [
        f"{done.target}: {done.committed} of {done.sealed} sealed shards published now, {done.rows:,} rows"
        + (f"; {there} were there already" if there else "")
    ]
    if done.unsealed:
        lines.append(f"  {done.unsealed} shards are not finished; they are published when they are")
    return "\n".join(lines)


def rehearsal_text(counters: dict[str, Any]) -> str:
    """What the local simulated judge counted."""
    return (
        f"  the judge  {counters['requests']:,} requests, {counters['ok']:,} answered, {counters['r429']:,} times 429, "
        f"at most {counters['max_in_flight']} at once"
    )


def report_text(written: WrittenReport) -> str:
    """What `scorer report` shows."""
    size = f"{written.bytes / 1e6:.1f} MB" if written.bytes >= 100_000 else f"{written.bytes / 1e3:.0f} kB"
    inside = (
        f"It holds texts of {written.rows:,} rows: mail it only to those who may read them."
        if written.rows
        else "It holds no text of any row."
    )
    return f"{written.path} ({size}) opens in any browser, offline. {inside}"
