"""A `Launcher` whose workers are Ray actors, one CPU each, spread over the nodes; the owner stays where the lock is.

Before a worker gets work it is checked: it must have the same version of scorer and see the owner's output folder. Ray
restarts nothing: the supervisor recovers a dead worker's rows and spending, as on one machine.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from scorer import __version__
from scorer.errors import SpecError
from scorer.files.files import PARTIAL, Files, replace
from scorer.files.router import AnyFiles
from scorer.workers import messages
from scorer.workers.broker_client import FRESH_S
from scorer.workers.coordinator import Coordinator
from scorer.workers.messages import Hello, Order, Report
from scorer.workers.ray.actor import Place, RayWorker
from scorer.workers.ray.cluster import COLOUR
from scorer.workers.silence import SilenceTimeout
from scorer.workers.supervisor import Launcher

LEAVES_S = 2.0
"""A worker that is no longer answered has finished its last write after this long."""
KILLS_S = 10.0
"""A node kills an actor's process within this time: it asks it to end first, for which Ray allows 5 s."""
LOOKS_S = 1.0
"""The time between two checks whether a worker without a place is still needed."""
PATIENCE_S = 15.0
"""A worker that has no place on the cluster after so long is reported."""


def ray_launcher(out: str, say: Callable[[str], None]) -> Callable[[Coordinator], Launcher]:
    """Makes the launcher of a run into `out`; `say` gets sentences for the user. Call it inside `joined`."""
    return lambda owner: RayLauncher(owner, out, AnyFiles(), say)


class RayLauncher:
    """A `Launcher` that runs each worker as a Ray actor."""

    def __init__(self, owner: Coordinator, out: str, files: Files, say: Callable[[str], None]) -> None:
        import ray

        self._owner = owner
        self._out = out
        self._files = files
        self._say = say
        self._actor = ray.remote(RayWorker)
        self._here = ray.get_runtime_context().get_node_id()
        self._working: set[Any] = set()
        self._told_waiting = False
        # Another node may go on for seconds after its owner: its files must never have the names of ours.
        owner.number_from(secrets.randbelow(10**5) * 10**4)

    async def run_worker(self, hello: Hello) -> str | None:
        import ray

        actor: Any = self._actor.options(num_cpus=1, scheduling_strategy=self._strategy(hello)).remote(
            os.getcwd(), [path for path in sys.path if path]
        )
        self._working.add(actor)
        silence = SilenceTimeout(lambda: self._owner.broker.rows.done)
        talking = asyncio.ensure_future(self._talk(actor, hello, silence))
        watching = asyncio.ensure_future(silence.too_long())
        try:
            await asyncio.wait([talking, watching], return_when=asyncio.FIRST_COMPLETED)
            if talking.done():
                return await talking
            ray.kill(actor)  # reported dead at once, and killed by its node within KILLS_S, also where it is stopped
            await asyncio.sleep(KILLS_S)
            return f"an actor that {watching.result()}"
        finally:
            talking.cancel()
            watching.cancel()
            self._working.discard(actor)
            ray.kill(actor)  # at once, whatever it does: what it was asked to store it has stored

    def dismiss(self) -> None:
        import ray

        for actor in self._working:
            ray.kill(actor)

    def _strategy(self, hello: Hello) -> Any:
        """Ray's scheduling of the worker: any node, or the owner's where an embedded judge answers only there."""
        if not hello.served:
            return "SPREAD"
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._here, soft=False)

    async def _talk(self, actor: Any, hello: Hello, silence: SilenceTimeout) -> str | None:
        import ray

        ended, place, answered_at = False, None, time.monotonic()
        try:
            place = await self._look(actor, hello)
            if place is None:
                return None
            silence.awaited()
            data = await actor.begin.remote(messages.packed(hello))
            while data:
                silence.heard()
                report = _placed(messages.report(data), place)
                answer = await self._owner.answer(hello.worker, report)
                ended = ended or report.ended
                answered_at = time.monotonic()
                silence.awaited()
                data = await actor.hear.remote(messages.packed(answer))
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            if ended:
                return None
            await _process_ended(error, place, answered_at)
            return f"on {'a node' if place is None else place.host}: {_said(error)}"
        return None if ended else "which said nothing of it"

    async def _look(self, actor: Any, hello: Hello) -> Place | None:
        """Waits until the worker has a place. None where it is needed no longer. Raises SpecError."""
        path, content = f"{self._out.rstrip('/')}/{PARTIAL}started-{hello.worker}", secrets.token_bytes(16)
        offload = asyncio.to_thread
        await offload(replace, self._files, path, content)
        try:
            looking = asyncio.ensure_future(_awaited(actor.look.remote(path, content)))
            since = time.monotonic()
            while not looking.done():
                await asyncio.wait([looking], timeout=LOOKS_S)
                if self._owner.broker.order is not Order.SCORE or self._owner.broker.rows.done:
                    looking.cancel()
                    return None
                if not self._told_waiting and time.monotonic() - since > PATIENCE_S and not looking.done():
                    self._told_waiting = True
                    self._say(
                        "The cluster has no place for another worker yet: each takes one CPU. The others go on; its "
                        "share of the requests in flight is idle until then. Fewer --workers need no more places."
                    )
            place: Place = looking.result()
        finally:
            await offload(self._files.delete, path)
        if place.version != __version__:
            raise SpecError(
                [
                    f"Node {place.host} has scorer {place.version}, and this machine {__version__}. All nodes need the "
                    f"same one: pip install 'batch-scorer[cluster]=={__version__}' there. Nothing was sent from there."
                ]
            )
        if place.missing is not None:
            raise SpecError(
                [
                    f'output.path = "{self._out}" is not shared with node {place.host}: what was just written here '
                    f"cannot be read there ({place.missing}). On a cluster of several nodes give a folder that all of "
                    "them have under this name (a mounted file system), or s3://, gs:// or az://, with the credentials "
                    "in every node's environment. What is scored is kept."
                ]
            )
        return place


async def _process_ended(error: Exception, place: Place | None, answered_at: float) -> None:
    """Returns once the worker surely writes no more: Ray saw its process end, or it got no answer for long."""
    import ray

    if place is None:
        return
    alive = {node["NodeID"] for node in await asyncio.to_thread(ray.nodes) if node["Alive"]}
    if isinstance(error, ray.exceptions.ActorDiedError) and place.node in alive:
        return
    await asyncio.sleep(max(0.0, answered_at + FRESH_S + LEAVES_S - time.monotonic()))


async def _awaited(reference: Any) -> Any:
    return await reference


def _placed(report: Report, place: Place) -> Report:
    """The report, whose failure names its node, since the nodes' environments may differ."""
    if report.failure is None:
        return report
    text = f"{report.failure.text} (Said by a worker on node {place.host}.)"
    return msgspec.structs.replace(report, failure=msgspec.structs.replace(report.failure, text=text))


def _said(error: Exception) -> str:
    """Ray's message as one line."""
    return " ".join(COLOUR.sub("", str(error)).split())[:600]
