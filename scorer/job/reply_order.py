"""Which question each stored reply of a row answers, and which options of a judge would move replies to another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorer.judges.criteria import names_of


def moved_replies(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A sentence for each change of `[judge]` with which stored replies would be read as answers to other questions.

    Replies stand by question (criterion, order or model), then by sample. Of one question fewer samples can be read.
    """
    problems = []
    if before.get("ask_criteria") == "apart":
        old, new = names_of(before.get("criteria")), names_of(after.get("criteria"))
        if old != new:
            problems.append(
                f"judge.criteria: the stored replies of a row are about {', '.join(old)}, one by one, in this order; "
                f"{', '.join(new) or 'none'} would be given the replies about others. Keep the names and their order "
                "(weights, scales and descriptions may change), or score again into another output.path."
            )
    old_samples, new_samples = before.get("samples", 1), after.get("samples", 1)
    if _asks_several(before) and old_samples != new_samples:
        problems.append(
            f"judge.samples: the stored replies of a row are {old_samples} to each question (criterion, order or "
            f"model), one question after another; with {new_samples} a question would be given another one's replies. "
            f"Keep {old_samples}, or score again into another output.path."
        )
    return problems


def _asks_several(judge: Mapping[str, Any]) -> bool:
    """Whether a row is asked about in several questions, which differ in more than their samples."""
    kind = judge.get("kind", "rating")
    in_orders = (kind == "pairwise" or judge.get("versus_reference") is True) and judge.get("orders", "both") == "both"
    return in_orders or kind in ("panel", "cascade") or judge.get("ask_criteria") == "apart"
