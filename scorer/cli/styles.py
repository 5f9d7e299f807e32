"""Bold, dim and coloured text on a terminal; plain text elsewhere, and where NO_COLOR is set (no-color.org)."""

from __future__ import annotations

import os
import sys

from scorer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Styles:
    """Styles of text; where not `on`, every text stays as it is. The texts are escaped before."""

    on: bool = False

    def bold(self, text: str) -> str:
        return self._styled(text, "1")

    def dim(self, text: str) -> str:
        return self._styled(text, "2")

    def accent(self, text: str) -> str:
        return self._styled(text, "36")

    def warning(self, text: str) -> str:
        return self._styled(text, "31")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text


def styles_of_stdout() -> Styles:
    """Styles where stdout is a terminal that shows them and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return Styles()
    return Styles(is_terminal())


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # closed
        return False
