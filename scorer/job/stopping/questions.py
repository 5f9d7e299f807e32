"""The questions that were asked of an output folder, as run.json lists them: each further one is another risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scorer.config.spec import Stop
from scorer.errors import OutputError
from scorer.job.stopping.population import Population
from scorer.output.manifest import Manifest


def listed(manifest: Manifest, stop: Stop, population: Population, out: str) -> tuple[Manifest, str | None]:
    """The manifest with this question in it, and a sentence where an earlier statement was begun again.

    Raises OutputError where the folder's items are in the order of another seed.
    """
    for earlier in manifest.questions:
        if earlier["seed"] != stop.seed:
            raise OutputError(
                f"{out} is judged in the order of stop.seed = {earlier['seed']}, not {stop.seed}. Set the seed back, "
                "or give another output.path."
            )
    question = {
        **stop.model_dump(mode="json"),
        "where": manifest.selection.where,
        "systems": list(population.systems),
        "tasks": list(population.tasks),
        "items": len(population.keys),
        "digest": population.digest,
    }
    if question in manifest.questions:
        return manifest, None
    asked = stop.model_dump(mode="json")
    again = any({key: earlier.get(key) for key in asked} == asked for earlier in manifest.questions)
    sentence = (
        f'The rows or systems that stop.question = "{stop.question}" is about have changed. The statement begins '
        "again, as a further question of this folder."
    )
    return replace(manifest, questions=(*manifest.questions, question)), sentence if again else None


def together(questions: Sequence[Mapping[str, Any]]) -> float:
    """The confidence in which the answers to all questions hold together, at least."""
    return max(0.0, 1.0 - sum(1.0 - float(question["confidence"]) for question in questions))
