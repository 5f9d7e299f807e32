"""Replies as bytes: those that can be read in one way only, and those that cannot, or are cut."""

from __future__ import annotations

import gzip
import zlib

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def _packed(coding: bytes, body: bytes) -> bytes:
    return OK + b"Content-Encoding: " + coding + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


GOOD: dict[str, tuple[bytes, int, bytes]] = {
    "known": (OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", 200, b""),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
    "headers": (OK + b"retry-AFTER:  7 \r\nX-Empty:\r\nX: a\r\nX: b\r\ncontent-length:2\r\n\r\nhi", 200, b"hi"),
    "error": (b"HTTP/1.1 503 No\r\nContent-Length: 3\r\nRetry-After: 1\r\n\r\nno.", 503, b"no."),
    "204": (b"HTTP/1.1 204 None\r\n\r\n", 204, b""),
    "304 with a length": (b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, b""),
    "chunked": (CHUNKED + b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", 200, b"hi"),
    "no chunk": (CHUNKED + b"0\r\n\r\n", 200, b""),
    "a chunk like an end": (CHUNKED + b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", 200, b"0\r\n\r\n\r\n"),
    "extension": (CHUNKED + b'2;a="b"\r\nhi\r\n0;c=d\r\n\r\n', 200, b"hi"),
    "trailer": (CHUNKED + b"2\r\nhi\r\n0\r\nDigest: 1\r\n\r\n", 200, b"hi"),
    "gzip": (_packed(b"gzip", gzip.compress(b"hi" * 500, mtime=0)), 200, b"hi" * 500),
    "x-gzip": (_packed(b"X-GZip", gzip.compress(b"hi" * 500, mtime=0)), 200, b"hi" * 500),
    "deflate": (_packed(b"deflate", zlib.compress(b"hi" * 500)), 200, b"hi" * 500),
    "identity": (_packed(b"identity", b"hi"), 200, b"hi"),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        200,
        b"hi",
    ),
    "interim without a length": (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        200,
        b"hi",
    ),
    "304 with a length of 4 GiB": (b"HTTP/1.1 304 Same\r\nContent-Length: 4294967296\r\n\r\n", 304, b""),
    "closing": (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
}
"""Name: bytes, status, body."""

BAD: dict[str, bytes] = {
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
    "one length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "length and chunked": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "signed length": OK + b"Content-Length: +2\r\n\r\nhi",
    "negative length": OK + b"Content-Length: -2\r\n\r\nhi",
    "hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\nhi",
    "empty length": OK + b"Content-Length:\r\n\r\n",
    "endless length": OK + b"Content-Length: 99999999999999999999\r\n\r\nhi",
    "space before the colon": OK + b"Content-Length : 2\r\n\r\nhi",
    "folded header": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
    "folded length": OK + b"Content-Length:\r\n 2\r\n\r\nhi",
    "NUL": OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\nhi",
    "bare CR": OK + b"X: a\rY: b\r\nContent-Length: 2\r\n\r\nhi",
    "bare LF": OK + b"Content-Length: 2\n\nhi",
    "bare LF in the first line": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi",
    "no colon": OK + b"What\r\nContent-Length: 2\r\n\r\nhi",
    "no name": OK + b": x\r\nContent-Length: 2\r\n\r\nhi",
    "gzip as transfer coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "chunked first": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "unknown transfer coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "hexadecimal chunk": CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
    "negative chunk": CHUNKED + b"-2\r\nhi\r\n0\r\n\r\n",
    "chunk without a size": CHUNKED + b"\r\nhi\r\n0\r\n\r\n",
    "space after a chunk's size": CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n",
    "chunk too long": CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n",
    "chunk without its end": CHUNKED + b"2\r\nhi0\r\n\r\n",
    "chunk that ends in LF": CHUNKED + b"2\nhi\r\n0\r\n\r\n",
    "endless chunk": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nhi\r\n0\r\n\r\n",
    "LF in an extension": CHUNKED + b"2;a\nb\r\nhi\r\n0\r\n\r\n",
    "a second reply": OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 2\r\n\r\nno",
    "a line after it": OK + b"Content-Length: 2\r\n\r\nhi\r\n",
    "a byte after it": OK + b"Content-Length: 2\r\n\r\nhi!",
    "a line after chunks": CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\r\n",
    "LF after chunks": CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\n\r\n\r\n",
    "a reply after chunks": CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nno",
    "a body of 204": b"HTTP/1.1 204 None\r\n\r\nhi",
    "bytes after a closing one": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi!",
    "a line before it": b"\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
    "a line between": b"HTTP/1.1 100 Continue\r\n\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
    "many interim replies": b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK + b"Content-Length: 2\r\n\r\nhi",
    "interim with a body": b"HTTP/1.1 199 More\r\nContent-Length: %d\r\n\r\n" % len(CHUNKED)
    + CHUNKED * 2
    + b"2\r\nhi\r\n0\r\n\r\n",
    "interim in chunks": b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n"
    + OK
    + b"Content-Length: 2\r\n\r\nhi",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nhi",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi",
    "status 99": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "no HTTP": b"HELLO THERE\r\n\r\n",
    "another protocol's name": b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "no version": b"HTTP 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "binary": bytes(range(256)),
    "a head without end": OK + b"X: " + b"a" * 70_000,
    "headers without end": OK + b"X-Padding: aaaaaaaaaaaaaaaa\r\n" * 3_000,
    "lines without end": b"\r\n" * 40_000,
    "not packed": _packed(b"gzip", b"hi hi hi hi hi hi"),
    "packed and cut": _packed(b"gzip", gzip.compress(b"hi" * 500, mtime=0)[:-4]),
    "bytes after gzip": _packed(b"gzip", gzip.compress(b"hi", mtime=0) + b"!"),
    "a second gzip": _packed(b"gzip", gzip.compress(b"hi", mtime=0) + gzip.compress(b"no", mtime=0)),
}
"""Name: bytes after which no reply may have been read."""
PACKED_BADLY = ("not packed", "packed and cut", "bytes after gzip", "a second gzip")
"""Those of BAD whose HTTP is good."""
UNSPOKEN: dict[str, bytes] = {
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "br": _packed(b"br", b"\x0b\x00\x80hi\x03"),
    "two codings": _packed(b"gzip, gzip", gzip.compress(gzip.compress(b"hi", mtime=0), mtime=0)),
    "101": b"HTTP/1.1 101 Other\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
}
"""Valid, in a version or coding that our own connections do not implement."""
