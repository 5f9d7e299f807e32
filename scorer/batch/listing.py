"""Pages through a provider's listing of batches, the newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from scorer.batch.fields import text
from scorer.batch.types import Batch
from scorer.errors import ServerFault

PAGE = 100
"""The most that both OpenAI and Anthropic list at once."""
Page = Callable[[dict[str, str | int]], Awaitable[dict[str, Any]]]
"""Asks for one page with these parameters."""


async def listed(
    page: Page, after: str, read: Callable[[Mapping[str, Any]], Batch], since: float
) -> AsyncIterator[Batch]:
    """The batches created at `since` or later; `after` names the parameter that the next page is asked for by.

    Raises ServerFault where a page is none: what is not listed must not be taken for what does not exist.
    """
    query: dict[str, str | int] = {"limit": PAGE}
    while True:
        found = await page(query)
        data = found.get("data")
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            raise ServerFault("the provider answered with a listing that has no data", garbled=True)
        batches = [read(one) for one in data]
        for batch in batches:
            if batch.created_at >= since:
                yield batch
        if not found.get("has_more") or (batches and all(batch.created_at < since for batch in batches)):
            return
        last = text(found.get("last_id")) or (batches[-1].id if batches else "")
        if not last or last == query.get(after):
            raise ServerFault("the provider's listing says that there is more, and not where it goes on", garbled=True)
        query[after] = last
