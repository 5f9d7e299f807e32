"""`ReplyReader` beside a second reading of the same bytes: what it reads is what RFC 9112 says, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from support.http_replies import BAD, GOOD, PACKED_BADLY
from support.strict_replies import replies, strict_reading

from scorer.client.http.reply_reader import Malformed, ReplyReader


def read(raw: bytes) -> tuple[int, bytes] | None:
    """As `strict_reading`."""
    reader = ReplyReader()
    try:
        reader.feed(raw)
        return (reader.status, b"".join(reader.parts)) if reader.finish() else None
    except Malformed:
        return None


@given(replies())
def test_reply_reader_agrees_with_strict_reading_of_random_replies(raw: bytes) -> None:
    assert read(raw) == strict_reading(raw)


@pytest.mark.parametrize("name", [name for name in BAD if name not in PACKED_BADLY])
def test_strict_reading_refuses_what_is_known_to_be_bad(name: str) -> None:
    """Or the comparison would show nothing."""
    assert strict_reading(BAD[name]) is None


@pytest.mark.parametrize(
    "name", [name for name in GOOD if name not in ("gzip", "x-gzip", "deflate", "interim without a length")]
)
def test_strict_reading_reads_what_is_known_to_be_good(name: str) -> None:
    raw, status, body = GOOD[name]
    assert strict_reading(raw) == (status, body)
