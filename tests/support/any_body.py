"""Bodies of replies that may hold anything: bytes, JSON, and real replies that are damaged."""

from __future__ import annotations

import json
from collections.abc import Sequence

import orjson
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def _broken_values(draw: st.DrawFn, objects: Sequence[bytes]) -> bytes:
    """A real reply with one value, at any depth, replaced by any other."""
    value = orjson.loads(draw(st.sampled_from(objects)))
    inner = value
    while isinstance(inner, dict | list) and inner:
        key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], dict | list) or not inner[key] or draw(st.booleans()):
            inner[key] = draw(JSON)
            break
        inner = inner[key]
    return json.dumps(value).encode()


@st.composite
def _broken_bytes(draw: st.DrawFn, bodies: Sequence[bytes]) -> bytes:
    body = draw(st.sampled_from(bodies))
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]


def any_body(bodies: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, any JSON, and `bodies` with one value or a few bytes replaced."""
    objects = [body for body in bodies if body.startswith(b"{")]
    return st.binary(max_size=64) | JSON.map(orjson.dumps) | _broken_values(objects) | _broken_bytes(bodies)
