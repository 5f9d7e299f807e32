"""What the results say of a row beside its verdict, as named texts: error, tokens, cost, times, further columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scorer.report.run_table import RunTable

_ELSEWHERE = frozenset(
    {"shard", "row", "id", "score", "reason", "error", "raw", "judge", "samples", "attempts", "generation"}
    | {"prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_microusd", "waited_s"}
    | {"answered_s", "finished_at", "error_detail", "finish_reason", "judge_model", "method", "preference", "verdict"}
    | {"preference_given", "preference_swapped"}
)
"""Result columns that a card shows in another place, or that are put together here."""


def facts_of(table: RunTable, run: str, results: Mapping[str, Any]) -> dict[str, str]:
    """The facts of one row in one run; what is null is left out."""

    def of(name: str) -> Any:
        return results.get(table.of_run(run, name))

    facts: dict[str, str] = {}
    if of("error_detail"):
        facts["error"] = str(of("error_detail"))
    for name in table.further_columns(run, _ELSEWHERE):
        value = of(name)
        if value is not None and not name.startswith("reason_"):
            facts[name] = _short(value)
    if of("prompt_tokens") is not None or of("completion_tokens") is not None:
        more = [(of("cached_tokens"), "cached"), (of("reasoning_tokens"), "reasoning")]
        beside = ", ".join(f"{count:,} {what}" for count, what in more if count)
        tokens = f"{of('prompt_tokens') or 0:,} in, {of('completion_tokens') or 0:,} out"
        facts["tokens"] = f"{tokens} ({beside})" if beside else tokens
    if of("cost_microusd") is not None:
        facts["cost"] = f"{of('cost_microusd') / 1e6:.6f} USD"
    for name in ("judge_model", "method", "finish_reason"):
        if of(name):
            facts[name.replace("_", " ")] = str(of(name))
    if of("samples") not in (None, 0, 1):
        facts["samples read"] = str(of("samples"))
    if of("attempts"):
        facts["requests"] = str(of("attempts"))
    if of("answered_s") is not None:
        facts["answered in"] = f"{of('answered_s'):.2f} s"
    if isinstance(of("finished_at"), datetime):
        facts["finished at"] = of("finished_at").strftime("%Y-%m-%d %H:%M:%S UTC")
    if of("generation"):
        facts["scored again"] = f"generation {of('generation')}"
    return facts


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
