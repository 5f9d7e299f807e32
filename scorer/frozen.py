"""A `dataclass` that is frozen for the type checker only: for objects that are created for every row.

A frozen dataclass sets each field through `object.__setattr__`: with eight fields 1.6 us instead of 0.4, and a row
makes a dozen objects (docs/project/log.md). mypy refuses assignments to fields; `replace`, `==` and `hash` are those
of a frozen dataclass. Source: attrs' documentation on the speed of frozen classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(*, slots: bool, frozen: bool = False):
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)
