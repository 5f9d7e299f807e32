"""Providers that answer most requests by one call: these need no generator, and the completion is the same."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, runtime_checkable

from scorer.types import Call, Completion, Reply, Request


@runtime_checkable
class SingleCallProvider(Protocol):
    """A `Provider` that answers most requests by one call."""

    def single_call(self, request: Request) -> Call | None:
        """The first call of the conversation; None where the reply to it does not end the conversation by itself."""
        ...

    def single_completion(self, reply: Reply) -> Completion | None:
        """The completion that the conversation returns on this reply to the call; None where it may do otherwise."""
        ...

    def go_on(self, request: Request, learned: Any, reply: Reply) -> Generator[Call, Reply, Completion]:
        """The conversation after the reply to a single call that was made when `learned` was known (`Call.learned`)."""
        ...
