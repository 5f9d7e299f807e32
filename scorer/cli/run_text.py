"""The results of status, plan, verify, publish and rehearse as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.cli.text_table import width, wrapped
from scorer.counted import counted
from scorer.output.status_facts import status_facts, status_title

if TYPE_CHECKING:
    from scorer.job.estimate import Estimate
    from scorer.output.status import Status
    from scorer.output.verify.folder import Verdict
    from scorer.publish.publish import Published
    from scorer.report.watch.rehearsed import Rehearsed
    from scorer.report.write import WrittenReport


def summary_text(out: str, s: Status) -> str:
    """The summary of a run: state, rows, errors, tokens, cost, pace."""
    facts = [*status_facts(s), ("scores", f"{out}/scores/*.parquet")]
    return "\n".join([status_title(out, s), *(wrapped(f"  {name:<10} {text}", indent=13) for name, text in facts)])


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
    from scorer.job.estimate_facts import estimate_facts

    return "\n".join(wrapped(f"{name:<12}{text}", indent=12) for name, text in estimate_facts(e))


def published_text(done: Published) -> str:
    """What `scorer publish` did, for a person."""
    there = done.sealed - done.committed
    sealed = counted(done.sealed, "sealed shard")
    lines = [
        f"{done.target}: {done.committed} of {sealed} published now, {counted(done.rows, 'row')}"
        + (f"; {there} were there already" if there else "")
    ]
    if done.unsealed:
        lines.append(f"  {counted(done.unsealed, 'shard')} not finished yet: published once finished")
    return "\n".join(lines)


def rehearsal_text(counters: dict[str, Any], whole: Rehearsed | None) -> str:
    """What the local simulated judge counted, and what the rehearsal says about the real run."""
    from scorer.report.watch.rehearsed import rehearsed_lines

    judge = wrapped(
        f"  the judge  {counters['requests']:,} requests, {counters['ok']:,} answered, {counters['r429']:,} times 429, "
        f"at most {counters['max_in_flight']} at once",
        13,
    )
    lines = [judge, *_batch_lines(counters["batches"])]
    return "\n".join([*lines, *(["", *rehearsed_lines(whole, width() or 100)] if whole is not None else [])])


def _batch_lines(counters: dict[str, Any]) -> list[str]:
    """What was made and paid in batches of the simulated judge; nothing where there were none."""
    if not counters.get("batches"):
        return []
    paid, equal, lost = (counters[name] for name in ("paid", "paid_again", "paid_not_fetched"))
    # Equal rows are asked each by itself, so that an equal request is not always one that was sent again.
    repeated = f", {equal:,} of them equal to one before" if equal else ""
    made = f"{counters['batches']:,} made; {counted(paid, 'request')} paid{repeated}, {lost:,} never fetched"
    late = "A real batch takes up to a day: a rehearsal says nothing of when the run ends."
    return [wrapped(f"  batches    {made}. {late}", 13)]


def report_text(written: WrittenReport) -> str:
    """What `scorer report` shows."""
    size = f"{written.bytes / 1e6:.1f} MB" if written.bytes >= 100_000 else f"{written.bytes / 1e3:.0f} kB"
    inside = (
        f"It holds texts of {counted(written.rows, 'row')}: mail it only to those who may read them."
        if written.rows
        else "It holds no text of any row."
    )
    return f"{written.path} ({size}) opens in any browser, offline. {inside}"
