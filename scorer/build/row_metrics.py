"""Makes the automatic metrics of a run, which are computed for each batch of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from scorer.config.spec import Spec
from scorer.errors import BadRow
from scorer.judges.shown_values import as_text
from scorer.metrics import REFERENCE_FREE
from scorer.output.tables import Measure
from scorer.types import Result

if TYPE_CHECKING:
    from scorer.metrics.references import Reference


def measured(spec: Spec) -> tuple[str, ...]:
    """The columns that the automatic metrics read; the reference only where a metric needs it."""
    names = spec.metrics.names
    needed = (spec.metrics.response, spec.metrics.reference)
    return needed if set(names) - REFERENCE_FREE else needed[: bool(names)]


def make_measure(
    spec: Spec, stack: AsyncExitStack, workers: int = 1, *, say: Callable[[str], None] = lambda _: None
) -> Measure | None:
    """The automatic metrics of a run, or of one of `workers` workers. Its processes end with `stack`.

    A metric that fails on a row is None there, and `say` gets a sentence, on any thread. Raises SpecError for names
    that are unknown or not installed.
    """
    if not spec.metrics.names:
        return None
    from scorer.metrics.pool import Pool
    from scorer.metrics.references import listed

    given = spec.metrics
    pool = stack.enter_context(Pool(given.names, options=given.options, workers=1 if workers > 1 else None, tell=say))
    read = measured(spec)

    def reference(value: object) -> Reference:
        """The texts of a list of texts, else the text that the value is shown as."""
        texts = listed(value)
        return _text(given.reference, value) if texts is None else texts

    def measure(results: Sequence[Result]) -> dict[str, list[float | None]]:
        responses = [_text(given.response, r.row.values.get(given.response)) for r in results]
        references: list[Reference] = [None] * len(results)
        if len(read) > 1:
            references = [reference(r.row.values.get(given.reference)) for r in results]
        columns = pool.columns(responses, references)
        return {f"metric_{name}": column for name, column in columns.items()}

    return measure


def _text(column: str, value: object) -> str | None:
    """The text that a metric compares: null for a value that a prompt cannot show."""
    if value is None or isinstance(value, str):
        return value
    try:
        return str(as_text(column, value))
    except BadRow:
        return None
