"""A module that stands for Ray: its actors are objects of this process, and their calls are tasks of its loop."""

from __future__ import annotations

import asyncio
from types import ModuleType, SimpleNamespace
from typing import Any


class RayActorError(Exception):
    """An actor that does not answer."""


class ActorDiedError(RayActorError):
    """An actor whose process ended."""


class OutOfMemoryError(Exception):
    """An actor whose process its node killed for want of memory; as in Ray, this is no RayActorError."""


class Actor:
    """One actor. A call that `dying` names finds its process dead, of `cause`; after `kill` so does every call."""

    def __init__(self, wrapped: Any, dying: str | None, cause: type[Exception]) -> None:
        self._wrapped = wrapped
        self._dying = dying
        self._cause = cause
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            self.dead = self.dead or name == self._dying
            if self.dead:
                raise self._cause("The actor died unexpectedly before finishing this task.")
            return await getattr(self._wrapped, name)(*arguments)

        return SimpleNamespace(remote=lambda *arguments: asyncio.ensure_future(call(*arguments)))


class FakeRay(ModuleType):
    """`import ray`, once it is in sys.modules. `dying` are calls, one for each actor, that find it dead."""

    def __init__(self, *dying: str | None, cause: type[Exception] = ActorDiedError) -> None:
        super().__init__("ray")
        self.actors: list[Actor] = []
        self.options: list[dict[str, Any]] = []
        self.exceptions = SimpleNamespace(
            RayActorError=RayActorError, ActorDiedError=ActorDiedError, OutOfMemoryError=OutOfMemoryError
        )
        self.util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")
        self._dying = iter(dying)
        self._cause = cause

    def remote(self, kind: type) -> Any:
        def options(**given: Any) -> Any:
            self.options.append(given)
            return SimpleNamespace(remote=lambda *arguments: self._actor(kind(*arguments)))

        return SimpleNamespace(options=options)

    def _actor(self, wrapped: Any) -> Actor:
        self.actors.append(Actor(wrapped, next(self._dying, None), self._cause))
        return self.actors[-1]

    def kill(self, actor: Actor) -> None:
        actor.dead = True

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "node")

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "node", "Alive": True}]
