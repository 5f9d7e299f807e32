"""What the batch APIs have in common: a clock, a batch by its id, and a cancel that may come too late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from scorer.batch.http import BatchHttp
from scorer.batch.types import Batch, NotAccepted, Unresolved
from scorer.errors import ServerFault, TransientError


class HttpBatches(ABC):
    """The part of a `BatchApi` that differs by its `path` alone."""

    path: ClassVar[str]

    def __init__(self, http: BatchHttp) -> None:
        self._http = http

    @property
    def now(self) -> float | None:
        return self._http.now

    @abstractmethod
    def _batch(self, value: Mapping[str, Any]) -> Batch:
        """A batch from its JSON."""

    def _made(self, value: Mapping[str, Any]) -> Batch:
        """The batch in the answer to the request that made it. Raises Unresolved where that cannot be read."""
        try:
            return self._batch(value)
        except TransientError as error:
            raise Unresolved(error.detail) from error

    async def look(self, id: str) -> Batch:
        return self._batch(await self._http.get(f"{self.path}/{id}"))

    async def cancel(self, id: str) -> None:
        try:
            await self._http.post(f"{self.path}/{id}/cancel")
        except (NotAccepted, ServerFault):  # 400 or 409 where it has ended
            if (await self.look(id)).status == "running":
                raise
