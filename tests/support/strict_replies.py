"""A second, strict reading of one HTTP/1.1 reply (RFC 9112), without any parser of HTTP; and random replies to read."""

from __future__ import annotations

import re

from hypothesis import strategies as st

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TEXT = rb"[\t \x21-\x7e\x80-\xff]*"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})(?: " + TEXT + rb")?\r\n")
HEADER = re.compile(rb"(" + TOKEN + rb"):[ \t]*(" + TEXT + rb"?)[ \t]*\r\n")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;" + TOKEN + rb"(?:=" + TOKEN + rb"|=\"\w*\")?)*\r\n")
EMPTY = b"\r\n"


def strict_reading(raw: bytes) -> tuple[int, bytes] | None:
    """Status and body of a reply after which the connection ends; None where it is not exactly one reply."""
    for _ in range(17):
        found = STATUS.match(raw)
        if found is None:
            return None
        status, headers, raw = int(found[1]), {}, raw[found.end() :]
        while not raw.startswith(EMPTY):
            field = HEADER.match(raw)
            if field is None:
                return None
            headers.setdefault(field[1].lower(), []).append(field[2])
            raw = raw[field.end() :]
        raw = raw[2:]
        if status >= 200:
            return _with_body(status, headers, raw)
        if status in (101, *range(100)) or headers.keys() & {b"content-length", b"transfer-encoding"}:
            return None
    return None


def _with_body(status: int, headers: dict[bytes, list[bytes]], raw: bytes) -> tuple[int, bytes] | None:
    lengths, codings = headers.get(b"content-length", []), headers.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1 or any(not re.fullmatch(rb"\d{1,18}", length) for length in lengths):
        return None
    if status in (204, 304):
        return None if raw else (status, b"")
    if codings:
        body = _unchunked(raw) if codings[0].lower() == b"chunked" else None
        return None if body is None else (status, body)
    if lengths and int(lengths[0]) != len(raw):
        return None
    return status, raw


def _unchunked(raw: bytes) -> bytes | None:
    body = b""
    while (found := CHUNK.match(raw)) is not None:
        size, raw = int(found[1], 16), raw[found.end() :]
        if size == 0:
            while (trailer := HEADER.match(raw)) is not None:
                raw = raw[trailer.end() :]
            return body if raw == EMPTY else None
        if raw[size : size + 2] != EMPTY:
            return None
        body, raw = body + raw[:size], raw[size + 2 :]
    return None


def _oneof(usual: bytes, *odd: bytes) -> st.SearchStrategy[bytes]:
    return st.integers(0, 5).flatmap(lambda n: st.sampled_from(odd) if n == 5 else st.just(usual))


def _chunk(part: bytes) -> st.SearchStrategy[bytes]:
    size = b"%x" % len(part)
    sizes = _oneof(
        size, b"0" + size, size.upper(), size + b";a=b", size + b";a", b"0x" + size, size + b" ", b"-" + size, b""
    )
    return st.tuples(sizes, _oneof(EMPTY, b"\n"), st.just(part), _oneof(EMPTY, b"\n", b"")).map(b"".join)


BODIES = st.sampled_from((b"", b"hi", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", bytes(range(256))))
INTERIM = st.lists(
    st.sampled_from(
        (
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n",
            b"HTTP/1.1 199 X\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
    ),
    max_size=2,
).map(b"".join)
HEADERS = st.lists(
    _oneof(
        b"X: a",
        *(b"X: \xe4\t", b"X:", b"X : a", b" X: a", b"X: a\r\n b", b"X: a\0", b"X: a\rb", b"X: a\nY: b", b"X", b": a"),
        *(b"Content-Length: 2", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"X-Content-Length: 9"),
    ),
    max_size=2,
)


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """Mostly valid replies, with one or the other mistake that servers make or attackers like."""
    body = draw(BODIES)
    line = draw(
        _oneof(b"HTTP/1.1 200 OK", *(b"HTTP/1.1 %d" % n for n in (200, 204, 304, 503, 99, 20)), b"HTTP/1.1 200 O\0K")
    )
    headers = draw(HEADERS)
    framing = draw(st.sampled_from(("length", "chunked", "end")))
    if framing == "length":
        size = len(body)
        lengths = (
            b"%d" % (size + 1),
            b"+%d" % size,
            b"%d, %d" % (size, size),
            b"0x%x" % size,
            b"",
            b"9" * 21,
            b"0%d" % size,
        )
        headers.append(b"Content-Length: " + draw(_oneof(b"%d" % size, *lengths)))
    elif framing == "chunked":
        headers.append(
            b"Transfer-Encoding: " + draw(_oneof(b"chunked", b"Chunked", b"xchunked", b"gzip, chunked", b"identity"))
        )
        middle = len(body) // 2
        parts = [draw(_chunk(part)) for part in (body[:middle], body[middle:]) if part]
        last = draw(_oneof(b"0\r\n", b"000\r\n", b"0\n", b""))
        trailer = draw(_oneof(b"", b"Digest: 1\r\n", b" folded\r\n", b"no colon\r\n"))
        body = b"".join(parts) + last + trailer + draw(_oneof(EMPTY, b"\n", b"", b"\r\n\r\n"))
    after = draw(_oneof(b"", b"x", EMPTY, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    return (
        draw(INTERIM) + line + EMPTY + b"".join(h + EMPTY for h in headers) + draw(_oneof(EMPTY, b"\n")) + body + after
    )
