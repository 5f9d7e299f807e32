"""A frozen `dataclass` that is made quickly: for objects that are created for every row.

At runtime the class is a `msgspec.Struct`, which is created in C: one with eight fields takes a quarter of the time,
and a row creates eighteen of them (docs/project/log.md). mypy sees a frozen dataclass. `==`, `hash`, `repr`,
`dataclasses.replace` and `dataclasses.asdict` are those of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    import msgspec

    _NOT_TAKEN = ("__init__", "__dict__", "__weakref__", "__module__", "__qualname__")

    def dataclass(*, slots: bool, frozen: bool):
        def made(cls):
            plain = dataclasses.dataclass(unsafe_hash=True)(cls)
            fields = plain.__dataclass_fields__
            namespace = {n: part for n, part in vars(plain).items() if n not in fields and n not in _NOT_TAKEN}
            struct = msgspec.defstruct(
                cls.__name__,
                [(name, object, _default(declared)) for name, declared in fields.items()],
                namespace=namespace,
                module=cls.__module__,
                frozen=True,
            )
            struct.__annotations__ = cls.__annotations__
            return struct

        return made

    def _default(declared):
        if declared.default_factory is not dataclasses.MISSING:
            return msgspec.field(default_factory=declared.default_factory)
        return msgspec.NODEFAULT if declared.default is dataclasses.MISSING else declared.default
