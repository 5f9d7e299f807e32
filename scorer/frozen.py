"""`dataclass` for what is made for every row: frozen for the type checker, without the guard that costs at run time.

A frozen dataclass sets each field through `object.__setattr__`: with eight fields that is 1.6 us instead of 0.4, and a
row makes a dozen objects (docs/log.md). Nobody assigns to a field here, because mypy refuses it; `replace`, `==` and
`hash` are those of any frozen dataclass. The trick is attrs' own, from "How do frozen classes perform".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(*, slots: bool, frozen: bool = False):
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)
