"""A metric: the share of the reference's different words that the response has."""

from collections.abc import Sequence


class SharedWords:
    """A `scorer.metrics.protocol.Metric`. scorer makes it in a process of its own, without options."""

    needs_reference = True

    def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
        return [self._one(*pair) for pair in zip(responses, references, strict=True)]

    def _one(self, response: str | None, reference: str | None) -> float | None:
        if response is None or reference is None:
            return None
        wanted = set(reference.lower().split())
        return len(wanted & set(response.lower().split())) / len(wanted) if wanted else None
