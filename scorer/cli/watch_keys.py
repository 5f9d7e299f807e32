"""The keys of `scorer watch`: what is typed becomes a change to ask the run for. Reads no terminal and no socket."""

from __future__ import annotations

from typing import Any

from scorer.frozen import dataclass
from scorer.job.control import CONCURRENCY, MAX_TOKENS, MAX_USD, PAUSED
from scorer.job.control_socket import Answer
from scorer.output.progress_lines import Part

ENTER, ESCAPE, BACKSPACE, INTERRUPT = ("\r", "\n"), "\x1b", ("\x7f", "\x08"), "\x03"
CAPS = {"b": MAX_USD, "t": MAX_TOKENS}
STEP = 10
"""One key changes the requests in flight by a tenth, at least by one."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A change to ask the run for."""

    key: str
    value: Any


class Keys:
    """Takes keys one by one. `control` is the run's last answer, None where the run can only be looked at."""

    def __init__(self) -> None:
        self.control: Answer | None = None
        self.left = False
        """The user wants to leave the view."""
        self.answer: str | None = None
        """What there is to say about the last key."""
        self._cap: str | None = None
        self._typed = ""

    @property
    def typed(self) -> Part | None:
        """The line that is being typed, None where none is; a shorter one for narrow terminals."""
        if self._cap is None or self.control is None:
            return None
        now, name = self.control.caps.get(self._cap, 0.0), self._cap.removeprefix("limits.")
        return (
            f"New {self._cap} (now {now:,g}), Enter to raise it: {self._typed}_",
            f"{name} {now:,g} -> {self._typed}_",
            f"{self._typed}_",
        )

    @property
    def help(self) -> tuple[Part, ...]:
        """What can be typed now."""
        if self._cap is not None:
            return ("Enter raise it", "Enter"), ("Esc leave it as it is", "Esc")
        if self.control is None:
            return (("q quit",),)
        paces = [("+/- requests in flight", "+/- in flight", "+/-")] if self.control.concurrency[0] else []
        caps = [(key, name.removeprefix("limits.")) for key, name in CAPS.items() if name in self.control.caps]
        return (
            ("p resume" if self.control.paused else "p pause",),
            *paces,
            *((f"{key} raise {name}", f"{key} {name}", key) for key, name in caps),
            ("q quit",),
        )

    def take(self, key: str) -> Ask | None:
        """Takes one key. Returns the change that it asks for, None where it asks for none."""
        if key == INTERRUPT or (key == "q" and self._cap is None):
            self.left = True
            return None
        if self.control is None:
            self._cap = None
            return None
        self.answer = None
        return self._typing(key) if self._cap is not None else self._pressed(key, self.control)

    def _pressed(self, key: str, control: Answer) -> Ask | None:
        now, least, most = control.concurrency
        if key == "p":
            return Ask(PAUSED, not control.paused)
        if key in ("+", "=", "-") and now:
            step = max(1, now // STEP)
            wished = now - step if key == "-" else now + step
            return Ask(CONCURRENCY, max(least, min(most, wished)))
        if (cap := CAPS.get(key)) is not None and cap in control.caps:
            self._cap, self._typed = cap, ""
        return None

    def _typing(self, key: str) -> Ask | None:
        cap = self._cap
        if key == ESCAPE:
            self._cap = None
        elif key in BACKSPACE:
            self._typed = self._typed[:-1]
        elif key in ENTER and cap is not None:
            self._cap = None
            if self._typed:
                return self._number(cap)
        elif key in "0123456789.," and len(self._typed) < 20:
            self._typed += key
        return None

    def _number(self, cap: str) -> Ask | None:
        text = self._typed.replace(",", "")
        try:
            return Ask(cap, int(text) if cap == MAX_TOKENS else float(text))
        except ValueError:
            self.answer = f"{self._typed} is no number, so {cap} stays as it is."
            return None
