"""A `dataclass` that is quick to define and to create: a `msgspec.Struct` at runtime, a dataclass for the type checker.

An object is created in C: one with eight fields takes a quarter of the time, and a row creates eighteen of them. The
class is defined in 0.05 ms instead of 0.7, and a start defines a hundred of them (docs/project/log.md). `==`, `hash`,
`repr`, `dataclasses.fields`, `replace` and `asdict` are those of a dataclass: the standard library compiles them when
one is first used. A class that inherits, or that sets fields in `__post_init__`, needs `dataclasses.dataclass`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import replace as replace
else:
    import dataclasses

    replace = msgspec.structs.replace  # the standard library's would compile the methods

    _METHODS = ("__repr__", "__eq__", "__hash__")
    _NOT_TAKEN = ("__dict__", "__weakref__", "__module__", "__annotations__")

    def dataclass(*, slots: bool, frozen: bool = False, eq: bool = True):
        def made(cls):
            names = [name for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)]
            body = {name: part for name, part in vars(cls).items() if name not in _NOT_TAKEN}
            # A struct compares all fields in C; where some are left out, the methods are those of a dataclass.
            all_compared = all(getattr(body.get(name), "compare", True) for name in names)
            at_first_use = _AtFirstUse(cls, _METHODS if eq and not all_compared else _METHODS[:1], eq=eq, frozen=frozen)
            methods = {name: at_first_use.method(name) for name in at_first_use.methods}
            if eq and not frozen:
                methods["__hash__"] = None
            struct = at_first_use.struct = msgspec.defstruct(
                cls.__name__,
                [(name, object, _default(body.pop(name, msgspec.NODEFAULT))) for name in names],
                bases=None if cls.__bases__ == (object,) else (msgspec.Struct, *cls.__bases__),
                namespace=methods | body | {"__dataclass_fields__": at_first_use},
                module=cls.__module__,
                frozen=frozen,
                eq=eq,
            )
            struct.__annotations__ = cls.__annotations__
            return struct

        return made

    def _default(given):
        if not isinstance(given, dataclasses.Field):
            return given
        assert given.init, "a field that is not given: use dataclasses.dataclass"
        if given.default_factory is not dataclasses.MISSING:
            return msgspec.field(default_factory=given.default_factory)
        return msgspec.NODEFAULT if given.default is dataclasses.MISSING else given.default

    class _AtFirstUse:
        """What stands for the fields and the methods of a dataclass until the first of them is used."""

        def __init__(self, cls, methods, *, eq: bool, frozen: bool) -> None:
            self._cls, self._options = cls, {"eq": eq, "unsafe_hash": eq and frozen}
            self.methods, self.struct = methods, None

        def __get__(self, thing, cls):
            return self._compiled("__dataclass_fields__")

        def method(self, name):
            return lambda *given: self._compiled(name)(*given)

        def _compiled(self, name):
            cls = self._cls
            if not dataclasses.is_dataclass(cls):
                own = [method for method in _METHODS if method in vars(cls)]
                dataclasses.dataclass(init=False, **self._options)(cls)
                for part in ("__dataclass_fields__", *self.methods):
                    if part in vars(cls) and part not in own:
                        setattr(self.struct, part, vars(cls)[part])
            return getattr(cls, name)


def values(thing: Any) -> dict[str, Any]:
    """The values of an object of such a class by the names of its fields, as they are: `asdict` copies them, 50 us."""
    return msgspec.structs.asdict(thing)
