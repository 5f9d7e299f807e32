"""`ReplyReader`: the same reply however its bytes are cut, and an error where a reply is ambiguous."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http_replies import BAD, CHUNKED, GOOD, OK, PACKED_BADLY, UNSPOKEN

from scorer.client.http.raw_headers import RawHeaders
from scorer.client.http.reply_reader import LARGEST_HEAD, Malformed, NotSpoken, ReplyReader
from scorer.client.http.unpacking import NotPacked, unpacked

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNREADABLE = {name: raw for name, raw in BAD.items() if name not in PACKED_BADLY}


def read(pieces: Sequence[bytes]) -> ReplyReader:
    reader = ReplyReader()
    for piece in pieces:
        if piece:
            reader.feed(piece)
    return reader


def cut(raw: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:stop] for start, stop in pairwise(ends)]


def body(reader: ReplyReader) -> bytes:
    return b"".join(unpacked(reader.parts, reader.coding) if reader.coding else reader.parts)


def found(reader: ReplyReader) -> tuple[bool, int, bytes, bytes, bool]:
    return reader.complete, reader.status, reader.head, body(reader), reader.keep_alive


@pytest.mark.parametrize("name", GOOD)
def test_reply_reader_result_is_independent_of_one_cut_or_cuts_at_every_byte(name: str) -> None:
    raw, status, text = GOOD[name]
    whole = found(read([raw]))
    assert (whole[0], whole[1], whole[3]) == (True, status, text)
    assert whole[4] is (name != "closing")
    for place in range(1, len(raw)):
        assert found(read([raw[:place], raw[place:]])) == whole
        assert not read([raw[:place]]).complete
    assert found(read([raw[i : i + 1] for i in range(len(raw))])) == whole


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(0, 10_000), max_size=12))
def test_reply_reader_result_is_independent_of_any_cuts(name: str, places: list[int]) -> None:
    raw, status, text = GOOD[name]
    reader = read(cut(raw, places))
    assert (reader.complete, reader.status, body(reader)) == (True, status, text)


@given(st.lists(st.sampled_from(sorted(set(GOOD) - {"closing"})), min_size=2, max_size=5), st.integers(1, 40))
def test_reply_reader_separates_consecutive_replies(names: list[str], size: int) -> None:
    reader = ReplyReader()
    for name in names:
        raw, status, text = GOOD[name]
        reader.begin()
        for start in range(0, len(raw), size):
            reader.feed(raw[start : start + size])
        assert (reader.complete, reader.status, body(reader)) == (True, status, text)


@pytest.mark.parametrize("name", UNREADABLE)
def test_reply_reader_rejects_ambiguous_replies(name: str) -> None:
    """Where the stray bytes come in a piece of their own, the reply before them is whole: nobody asked for those."""
    raw = UNREADABLE[name]
    with pytest.raises(Malformed):
        read([raw])
    steps = range(1, len(raw), max(1, len(raw) // 300))
    for place in steps:
        try:
            reader = read([raw[:place]])
        except Malformed:
            continue
        if not reader.complete:
            with pytest.raises(Malformed):
                reader.feed(raw[place:])


@pytest.mark.parametrize("name", UNSPOKEN)
def test_reply_reader_raises_not_spoken_for_valid_unsupported_replies(name: str) -> None:
    raw = UNSPOKEN[name]
    for pieces in ([raw], [raw[i : i + 1] for i in range(len(raw))]):
        with pytest.raises(NotSpoken):
            read(pieces)


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 ", OK, CHUNKED, OK + b"Content-Length: 3\r\n"]))
def test_reply_reader_raises_only_its_own_errors_on_any_bytes(noise: bytes, before: bytes) -> None:
    try:
        reader = read([before + noise])
        assert body(reader) is not None
    except (Malformed, NotSpoken, NotPacked):
        pass


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 500), st.integers(0, 255))
def test_reply_reader_body_never_exceeds_received_bytes_after_changed_byte(name: str, place: int, byte: int) -> None:
    raw = bytearray(GOOD[name][0])
    raw[place % len(raw)] = byte
    try:
        reader = read([bytes(raw)])
    except (Malformed, NotSpoken):
        return
    assert sum(map(len, reader.parts)) <= len(raw)
    assert not reader.complete or reader.head.endswith(b"\r\n\r\n")


def test_reply_reader_ends_body_at_close_only_without_length_or_chunks() -> None:
    for raw, ends in (
        (OK + b"\r\nhi", True),
        (CHUNKED + b"2\r\nhi\r\n", False),
        (OK + b"Content-Length: 3\r\n\r\nhi", False),
    ):
        reader = read([raw])
        assert not reader.complete
        assert reader.finish() is ends
    assert not read([OK]).finish()


def test_reply_reader_needs_content_length_or_received_bytes() -> None:
    assert read([OK + b"Content-Length: 1000000\r\n\r\nhi"]).needs == 1_000_000
    assert read([CHUNKED + b"F4240\r\nhi"]).needs == 2


def test_reply_reader_reads_heads_up_to_largest_head() -> None:
    start, end = OK + b"X: ", b"\r\nContent-Length: 0\r\n\r\n"
    fits = start + b"a" * (LARGEST_HEAD - len(start) - len(end)) + end
    assert read([fits[i : i + 1000] for i in range(0, len(fits), 1000)]).complete
    assert read([fits]).complete
    for long in (start + b"a" + fits[len(start) :], fits[:-4] + b"0" + fits[-4:]):
        with pytest.raises(Malformed):
            read([long])


def test_raw_headers_ignore_case_and_take_first_value() -> None:
    reply = read([GOOD["headers"][0]])
    headers = RawHeaders(reply.head, reply.lower)
    assert (headers["retry-after"], headers["Retry-After"], headers["x"], headers["x-empty"]) == ("7", "7", "a", "")
    assert dict(headers) == {"retry-after": "7", "x-empty": "", "x": "a", "content-length": "2"}
    assert (len(headers), headers.get("date")) == (4, None)
    assert headers.lower == reply.head.lower()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_unpacked_yields_nothing_for_no_bytes(coding: str) -> None:
    assert list(unpacked([], coding)) == []


def test_unpacked_reads_raw_deflate() -> None:
    packer = zlib.compressobj(wbits=-15)
    assert b"".join(unpacked([packer.compress(b"hi") + packer.flush()], "deflate")) == b"hi"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"\x15\x03\x03\0\x02\x02\x32", "it speaks TLS here: write https://"),
        (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2 alone"),
        (b"220 mail.example ESMTP\r\n", "no HTTP here: its reply begins with b'220 mail.example'"),
        (b'{"error": 1}', "no HTTP here"),
    ],
)
@pytest.mark.parametrize("cuts", [False, True])
def test_reply_reader_names_what_is_spoken_instead_of_http(raw: bytes, says: str, cuts: bool) -> None:
    with pytest.raises(Malformed, match=says) if not cuts else pytest.raises(Malformed):
        read([raw] if not cuts else [bytes([byte]) for byte in raw])


@pytest.mark.parametrize("size", [1, 2, 100, 70_000])
def test_reply_reader_keeps_few_objects_of_many_small_chunks(size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, bytes(index % 251 for index in range(size)))
    count = 200_000 // size
    reader = read([CHUNKED_HEAD, *[chunk * 100] * (count // 100), chunk * (count % 100), b"0\r\n\r\n"])
    assert reader.complete
    assert b"".join(reader.parts) == bytes(index % 251 for index in range(size)) * count
    assert len(reader.parts) <= 22
