"""Tells at once where replies name another model, or another system fingerprint, than the replies before.

That is no alarm: the judge may agree with people as before. Canaries tell whether it does.
"""

from __future__ import annotations

MOST_TOLD = 8
"""Changes of each name that one start reports. A server with several back ends alternates between their names."""


class JudgeNames:
    """The names that one model's replies had so far, in this start."""

    def __init__(self) -> None:
        self._known: dict[str, list[str]] = {"model": [], "system fingerprint": []}
        self.last: tuple[str, str | None] | None = None
        """The names of the last reply that `changed` was asked about: the same names are no change."""

    def changed(self, model: str, fingerprint: str | None) -> list[str]:
        """A sentence for each name that no reply had before; none for the first."""
        self.last = model, fingerprint
        models, fingerprints = self._known.values()
        if (not model or model in models) and (fingerprint is None or fingerprint in fingerprints):
            return []
        changes = []
        for (what, known), name in zip(self._known.items(), (model, fingerprint), strict=True):
            if not name or name in known or len(known) > MOST_TOLD:
                continue
            if known:
                changes.append(
                    f"Replies name the {what} {name!r} now, and before {known[-1]!r}: the judge may have changed."
                )
            known.append(name)
        return changes
