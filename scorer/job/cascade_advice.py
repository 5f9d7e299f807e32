"""What `scorer plan` says of a cascade before anything is bought: what labels can support, and what is counted."""

from __future__ import annotations

from scorer.build.model_provider import temperature
from scorer.config.spec import Spec


def cascade_advice(spec: Spec) -> tuple[str, ...]:
    """Sentences about judge.kind = "cascade"; none for other judges."""
    if spec.judge.kind != "cascade":
        return ()
    from scorer.analysis.cascade_tests import labels_needed

    options = spec.judge.options
    first = next((model for model in spec.all_models if model.alias == options["models"][0]), None)
    advice = []
    if options.get("of", "rating") == "rating" and first is not None and temperature(first) == 0:
        advice.append(
            f"models.{first.alias} has temperature 0: its samples are nearly alike, and say little of how sure it is. "
            "Set its temperature to 1.0."
        )
    if options.get("threshold") is None:
        needed = ", ".join(f"{labels_needed(1 - a, 0.05)} for {a:g}" for a in (0.8, 0.9, 0.95))
        advice.append(
            "The cascade has no judge.threshold: both models judge every row, and scorer cascade learns the threshold "
            f"on labels. It takes so many labelled rows that the first model keeps and gets right: {needed} agreement; "
            "more where some are wrong (scorer cascade without a table)."
        )
    else:
        advice.append("Every row is counted as judged by both models of the cascade: the most that it can cost.")
    return tuple(advice)
