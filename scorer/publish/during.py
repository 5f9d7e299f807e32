"""Publishes shards as they are sealed during a run, on its own thread. Those that wait for one commit share the next.

The run goes on whatever happens to the table. Shards that were not published are reported, and the next start publishes
them. The thread is a daemon: a commit that hangs is abandoned at the end, and repeated later.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from scorer.errors import Interrupted, ScorerError, StorageError
from scorer.files.files import Files
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest
from scorer.publish.publish import next_group, publish_shards, publisher, sealed_shards
from scorer.types import Shard

PAUSE_S = 30.0
"""After the table could not be reached, until it is tried again; the end of the run tries at once."""

Tell = Callable[[str, Mapping[str, Any]], None]
"""Called for what happens: a name and its fields. Called on the loop's thread."""


class Publishing:
    """Publishes shards in the order they are sealed. Make it inside the running loop.

    `group` takes from the shards that wait those of the next commit. `publish` commits them and returns for each
    whether it was new, or why it failed. Both are called on the thread only.
    """

    def __init__(
        self,
        target: str,
        publish: Callable[[Sequence[Shard]], Sequence[bool | ScorerError]],
        tell: Tell,
        group: Callable[[Iterable[Shard]], Sequence[Shard]],
    ) -> None:
        self.target = target
        self.problem: str | None = None
        """What went wrong last; None where everything sealed so far is published, or has not been tried."""
        self.committed = 0
        self._publish = publish
        self._tell = tell
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Shard] = deque()
        self._failed: list[Shard] = []
        self._wake = threading.Condition()
        self._ending = False
        self._left = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="scorer-publish", daemon=True)

    @property
    def pending(self) -> int:
        """Shards that are sealed and not known to be published."""
        return len(self._waiting) + len(self._failed)

    def start(self, shards: Iterable[Shard]) -> None:
        """Starts with the shards that were sealed before; most are published already."""
        self._waiting.extend(shards)
        self._thread.start()

    def sealed(self, shard: Shard) -> None:
        """One more shard is sealed, or sealed again."""
        with self._wake:
            self._waiting.append(shard)
            self._wake.notify()

    async def finish(self) -> None:
        """Returns when every shard has been tried; those that failed once more."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        await self._ended.wait()

    def leave(self) -> None:
        """Starts no further commit; the current one is finished, unless the process ends before."""
        with self._wake:
            self._left = True
            self._wake.notify()

    def check(self) -> None:
        """Raises StorageError where a shard that is sealed was not published."""
        if self.pending:
            raise StorageError(
                f"Every row is scored and stored, but {self.pending} shards were not published to {self.target}. The "
                f"same command publishes them, and scores nothing again. What went wrong: {self.problem or 'stopped'}"
            )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        reached = True
        while self._next(pause=not reached):
            with self._wake:
                group, ending = self._group(self._waiting), self._ending
            reached = self._commit(group)
            if not reached and ending:  # a commit that began before the end is tried once more
                self._failed += self._waiting  # no need to find out for each
                self._waiting.clear()
        with suppress(RuntimeError):  # the loop is gone, and its waiters with it
            self._loop.call_soon_threadsafe(self._ended.set)

    def _next(self, *, pause: bool) -> bool:
        """Waits for a shard to publish: True; False when none will come."""
        with self._wake:
            if pause:
                self._wake.wait_for(lambda: self._ending or self._left, PAUSE_S)
            self._wake.wait_for(lambda: self._waiting or self._ending or self._left)
            return bool(self._waiting) and not self._left

    def _commit(self, group: Sequence[Shard]) -> bool:
        """Publishes the first shards that wait; False where the table could not be reached, and they wait on."""
        try:
            outcomes = self._publish(group)
        except StorageError as error:
            self._report(group[0], str(error))
            return False
        except Exception:  # noqa: BLE001 - the thread's outermost frame: a bug in a publisher ends no run
            for shard in group:
                self._report(shard, f"{shard.path} was not published to {self.target}: {traceback.format_exc()}")
                self._failed.append(self._waiting.popleft())
            return True
        for shard, outcome in zip(group, outcomes, strict=True):
            self._waiting.popleft()
            if isinstance(outcome, ScorerError):
                self._report(shard, str(outcome))
                self._failed.append(shard)
                continue
            if not self._failed:
                self.problem = None
            if outcome:
                self.committed += 1
                self._say("published", {"shard": shard.path, "rows": shard.rows, "to": self.target})
        return True

    def _report(self, shard: Shard, problem: str) -> None:
        self.problem = problem
        self._say("publish_failed", {"shard": shard.path, "to": self.target, "message": problem})

    def _say(self, name: str, fields: Mapping[str, Any]) -> None:
        with suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._tell, name, fields)


@asynccontextmanager
async def publishing(
    files: Files, layout: Layout, manifest: Manifest, target: str, partition_by: Sequence[str], tell: Tell
) -> AsyncIterator[Publishing]:
    """A run's publishing to the table `target` for as long as the block lasts.

    At the block's end every sealed shard is tried, also where a budget or the judge stopped the run; not after an
    interruption.
    """
    place = publisher(target, partition_by)
    going_on = Publishing(
        target,
        lambda group: publish_shards(files, layout, manifest.id, group, place),
        tell,
        lambda waiting: next_group(waiting, place),
    )
    going_on.start(sealed_shards(files, layout, manifest))
    try:
        try:
            yield going_on
        except Interrupted:
            raise
        except ScorerError:
            await going_on.finish()
            raise
        else:
            await going_on.finish()
    finally:
        going_on.leave()
