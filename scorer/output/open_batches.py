"""The ledger's provider batches: each at its worst case, less the lines that are settled. It outlives its owner.

A batch is named by its nonce. It stays open across owners, starts and new files, since its money is out until its
provider says how it ended. Each line is settled once: one that is settled again changes nothing, nor does a line of a
batch that is closed.

    {"batch": [[nonce, lines, tokens, pico, settled], ...]}    open; `settled` has a bit for each line, in hex
    {"lines": [[nonce, [[line, tokens, pico, prompt, completion, cached, pico], ...]], ...]}  reserved, then billed
    {"lines": [[nonce, [[line, tokens, pico], ...]], ...]}     possibly billed: counts at what it reserved
    {"closed": [nonce, ...]}                                   what is left was not billed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from scorer.frozen import dataclass
from scorer.usage import Usage


class Sums(Protocol):
    """What this needs of the ledger's totals."""

    def bill(self, prompt: int, completion: int, cached: int, pico: int) -> None: ...
    def suspect(self, tokens: int, pico: int, requests: int = 1) -> None: ...


@dataclass(frozen=True, slots=True)
class LineBill:
    """The bill of one line of a batch: what it had reserved, and its usage and cost. `usage` None: possibly billed.

    A line that was not billed has a usage of zero tokens. Money is in pico-dollars.
    """

    line: int
    tokens: int
    pico: int
    usage: Usage | None
    cost_pico: int = 0


@dataclass(slots=True)
class _Batch:
    lines: int
    tokens: int
    pico: int
    settled: int = 0
    """The bit of each settled line."""

    def free(self, tokens: int, pico: int) -> tuple[int, int]:
        """Takes so much from what is reserved, at most what there is. Returns what was taken."""
        freed = min(tokens, self.tokens), min(pico, self.pico)
        self.tokens -= freed[0]
        self.pico -= freed[1]
        return freed


class OpenBatches:
    """The open batches, and the entries about them that are not yet written. Money is in pico-dollars."""

    def __init__(self) -> None:
        self._open: dict[str, _Batch] = {}
        self._entries: dict[str, list[Any]] = {}

    @property
    def nonces(self) -> set[str]:
        """The batches that are open."""
        return {*self._open}

    @property
    def reserved(self) -> tuple[int, int]:
        """Tokens and pico-dollars that the open batches may still cost."""
        found = self._open.values()
        return sum(batch.tokens for batch in found), sum(batch.pico for batch in found)

    def reserve(self, nonce: str, lines: int, tokens: int, pico: int) -> None:
        """Opens a batch at its worst case. Raises ValueError where it is open."""
        if nonce in self._open:
            raise ValueError(f"the batch {nonce} is open already")
        self._open[nonce] = _Batch(lines, tokens, pico)
        self._entries.setdefault("batch", []).append([nonce, lines, tokens, pico, ""])

    def settle(self, nonce: str, bills: Sequence[LineBill], total: Sums) -> tuple[int, int]:
        """Enters the bills of lines in `total`. Returns the tokens and pico-dollars that are reserved no longer."""
        entered = [
            [bill.line, bill.tokens, bill.pico]
            if bill.usage is None
            else [
                bill.line,
                bill.tokens,
                bill.pico,
                bill.usage.prompt_tokens,
                bill.usage.completion_tokens,
                bill.usage.cached_tokens,
                bill.cost_pico,
            ]
            for bill in bills
        ]
        self._entries.setdefault("lines", []).append([nonce, entered])
        return self._settle(nonce, entered, total)

    def close(self, nonce: str) -> tuple[int, int]:
        """Ends a batch whose other lines were not billed. Returns what they had reserved."""
        self._entries.setdefault("closed", []).append(nonce)
        return self._close(nonce)

    def take_entries(self) -> dict[str, list[Any]]:
        """What has been entered since the last call, for one line of the ledger."""
        taken, self._entries = self._entries, {}
        return taken

    def entry(self) -> dict[str, list[Any]]:
        """All that is open, for the first lines of a new file."""
        return {
            "batch": [
                [nonce, batch.lines, batch.tokens, batch.pico, f"{batch.settled:x}"]
                for nonce, batch in self._open.items()
            ]
        }

    def replay(self, entry: Mapping[str, Any], total: Sums) -> None:
        """Does what a line of the ledger says."""
        for nonce, lines, tokens, pico, settled in entry.get("batch", ()):
            self._open[nonce] = _Batch(lines, tokens, pico, int(settled or "0", 16))
        for nonce, bills in entry.get("lines", ()):
            self._settle(nonce, bills, total)
        for nonce in entry.get("closed", ()):
            self._close(nonce)

    def suspect(self, total: Sums) -> None:
        """Counts all that is open as possibly billed, for who only reads."""
        for batch in self._open.values():
            total.suspect(batch.tokens, batch.pico, batch.lines - batch.settled.bit_count())

    def _settle(self, nonce: str, bills: Sequence[Sequence[int]], total: Sums) -> tuple[int, int]:
        freed_tokens = freed_pico = 0
        batch = self._open.get(nonce)
        for line, tokens, pico, *bill in bills:
            if batch is None or line >= batch.lines or batch.settled >> line & 1:
                continue
            batch.settled |= 1 << line
            free_tokens, free_pico = batch.free(tokens, pico)
            freed_tokens, freed_pico = freed_tokens + free_tokens, freed_pico + free_pico
            if not bill:
                total.suspect(tokens, pico)
            elif any(bill):
                total.bill(*bill)
        return freed_tokens, freed_pico

    def _close(self, nonce: str) -> tuple[int, int]:
        batch = self._open.pop(nonce, None)
        return (0, 0) if batch is None else (batch.tokens, batch.pico)
