"""Changes a run while it goes on: pause, requests in flight, a higher cap. Knows no socket and no terminal.

A change holds until this start of the run ends; the next one takes the run file's values. Each change is logged and
written to `run.json`, with its time and who made it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scorer.config.spec import Limits
from scorer.errors import ScorerError, SpecError
from scorer.files.files import Files
from scorer.job.scoring import Range
from scorer.limits.live_settings import LiveSettings
from scorer.output.layout import Layout
from scorer.output.manifest import Change, load, save
from scorer.processes.periodic_service import PeriodicService
from scorer.types import Offload

PAUSED, CONCURRENCY, MAX_USD, MAX_TOKENS = "paused", "limits.concurrency", "limits.max_usd", "limits.max_tokens"
KEYS = (PAUSED, CONCURRENCY, MAX_USD, MAX_TOKENS)
AGAIN_S = 5.0
"""Seconds until `run.json` is tried again where it could not be written."""


class Control:
    """The live settings of one run, and what changes them.

    `limits` are the run file's, and `caps` the caps that hold now, by their keys. `apply` gets the settings after each
    change, and raises SpecError for a cap that is raised too late. `tell` gets the change. `concurrency` returns the
    requests in flight that there may be, and the range that they may be set to.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        apply: Callable[[LiveSettings], None],
        concurrency: Callable[[], Range],
        tell: Callable[[Change], None],
        wall_s: Callable[[], float],
    ) -> None:
        self.settings = LiveSettings()
        caps = {MAX_USD: limits.max_usd, MAX_TOKENS: limits.max_tokens}
        self.caps = {key: cap for key, cap in caps.items() if cap is not None}
        self.changes: list[Change] = []
        """The changes of this start, the oldest first."""
        self.last_at: float | None = None
        """When the last of them was made, in seconds since 1970."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change."""
        self._apply = apply
        self._concurrency = concurrency
        self._tell = tell
        self._wall_s = wall_s

    @property
    def concurrency(self) -> tuple[int, int, int]:
        """Requests in flight that there may be, and the least and the most that they may be set to."""
        known = self._concurrency()
        return self.settings.concurrency or known.now, known.least, known.most

    @property
    def last(self) -> str | None:
        """The last change as a sentence."""
        return described(self.changes[-1]) if self.changes else None

    def change(self, key: str, value: Any, who: str) -> Change | None:
        """Makes a change at once. None where it is as it was. Raises SpecError where it is not possible."""
        if key == PAUSED:
            before: Any = self.settings.paused
            after: Any = _checked_pause(value)
            settings = replace(self.settings, paused=after)
        elif key == CONCURRENCY:
            before = self.concurrency[0]
            after = self._checked_concurrency(value)
            settings = replace(self.settings, concurrency=after)
        elif key in (MAX_USD, MAX_TOKENS):
            after = self._checked_cap(key, value)
            before = self.caps[key]
            settings = replace(self.settings, **{key.removeprefix("limits."): after})
        else:
            raise SpecError([f"{key!r} cannot be changed while a run goes on. These can: {', '.join(KEYS)}."])
        if after == before:
            return None
        self._apply(settings)
        self.settings = settings
        if key in self.caps:
            self.caps[key] = after
        now = self._wall_s()
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        change = Change(at, who, key, before, after)
        self.changes.append(change)
        self.last_at = now
        self._tell(change)
        self.on_change()
        return change

    def _checked_concurrency(self, value: Any) -> int:
        known = self._concurrency()
        if not known.most or not known.now:
            raise SpecError(["This run has no requests in flight to change: no limiter works yet, or none ever will."])
        if isinstance(value, bool) or not isinstance(value, int) or not known.least <= value <= known.most:
            raise SpecError(
                [
                    f"{CONCURRENCY} = {value!r} is not possible: a whole number from {known.least} to {known.most} is, "
                    "while this run goes on. For more, stop it and start it with another limits.concurrency."
                ]
            )
        return value

    def _checked_cap(self, key: str, value: Any) -> float:
        if key not in self.caps:
            raise SpecError(
                [f"This run has no {key}, so there is nothing to raise. To set one, stop it and resume with --set."]
            )
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < self.caps[key] or (key == MAX_TOKENS and value != int(value)):
            raise SpecError(
                [
                    f"{key} = {value!r} is not possible: while a run goes on a cap can only be raised, and it is "
                    f"{self.caps[key]:g}. To lower it, stop the run and resume with --set {key}=..."
                ]
            )
        return int(value) if key == MAX_TOKENS else float(value)


def _checked_pause(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SpecError([f"{PAUSED} = {value!r} is not possible: true or false is."])
    return value


def described(change: Change) -> str:
    """A change as a sentence."""
    if change.key == PAUSED:
        sentence = "Paused: rows in flight are finished, no other row is begun" if change.after else "Resumed"
    else:
        sentence = (
            f"{change.key} is {change.after:g} now, it was {change.before:g}" if change.before is not None else ""
        )
    return f"{sentence} ({change.who})."


class ChangeRecorder(PeriodicService):
    """Writes the changes of a run to `run.json`. Where storage fails it tries again, and that fails no run.

    `owned` is False while the folder may be another process's, and raises once it is. `say` gets a sentence where the
    last changes could not be written.
    """

    def __init__(
        self,
        control: Control,
        files: Files,
        layout: Layout,
        *,
        offload: Offload,
        owned: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(AGAIN_S)
        self._control = control
        self._files = files
        self._layout = layout
        self._offload = offload
        self._owned = owned
        self._say = say
        self._written = 0
        self._writing = threading.Lock()

    async def work(self) -> None:
        with suppress(ScorerError, OSError):
            await self._record()

    async def close(self) -> None:
        """Writes the last changes."""
        try:
            await self._record()
        except (ScorerError, OSError) as error:
            self._say(f"{self._layout.manifest} lacks the last changes that were made to this run. {error}")

    async def _record(self) -> None:
        changes = tuple(self._control.changes)
        if len(changes) > self._written and self._owned():
            await self._offload(self._write, changes)

    def _write(self, changes: tuple[Change, ...]) -> None:
        """Adds those of the changes that `run.json` does not end with. A turn that was cancelled may still be at it."""
        with self._writing:
            if len(changes) <= self._written:
                return  # a later turn was quicker
            found = load(self._files, self._layout)
            if found is not None:
                known, count = found.changes, len(found.changes)
                had = next(n for n in range(len(changes), -1, -1) if known[max(0, count - n) :] == changes[:n])
                save(self._files, self._layout, replace(found, changes=(*known, *changes[had:])))
            self._written = len(changes)
