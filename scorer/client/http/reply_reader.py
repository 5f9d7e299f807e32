"""Reads one HTTP/1.1 reply from pieces of bytes, by llhttp. Knows no sockets.

llhttp is strict by default: it refuses two lengths, a length beside chunked, obs-fold, NUL, bare CR or LF and bad chunk
sizes. Refused here besides: another transfer coding than chunked, bytes before the status line, bytes after the body,
a head beyond `LARGEST_HEAD`, more than `MOST_INTERIM` interim replies (1xx). (RFC 9112, sections 2.2, 5.2, 6.3, 7.1.)
"""

from __future__ import annotations

import re

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

LARGEST_HEAD = 64 * 1024
MOST_INTERIM = 16
FEW, GATHERED = 16, 64 * 1024
"""So many parts of a body are kept as they come. Further ones are gathered: an object takes 50 bytes for itself."""
CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}  # x-gzip: RFC 9110, 8.4.1.3
_VERSION = re.compile(rb"HTTP/\d\.\d ")
BODILESS = (204, 304)
_LENGTH = b"\r\ncontent-length:"
_AFTER = "bytes follow the reply"
_LONG_HEAD = f"the head is longer than {LARGEST_HEAD} bytes"


class Malformed(Exception):
    """The bytes are no HTTP/1.1 reply, or can be read in two ways. The text says what is wrong with them."""


class NotSpoken(Exception):
    """A valid reply in a version or coding that is not implemented here. The text names it."""


class NotDecoded(NotSpoken):
    """The content coding is not implemented here."""


class ReplyReader:
    """The reply to one request at a time: `begin`, `feed` until `complete`, and `finish` at the end of the bytes.

    `status` and `head` are 0 and b"" until the head is complete; `lower` is the head in lower case. `coding` is the
    content coding ("" for none) of what is in `parts`.
    """

    __slots__ = (
        "_before",
        "_came",
        "_chunked",
        "_interim",
        "_parser",
        "_raw",
        "_seen",
        "_tail",
        "coding",
        "complete",
        "head",
        "keep_alive",
        "lower",
        "parts",
        "status",
    )

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Forgets the last reply. Only after a whole one: the parser goes on where it stands."""
        self.status = 0
        self.head = self.lower = b""
        self.coding = ""
        self.parts: list[bytes | bytearray] = []
        self.complete = False
        self.keep_alive = False
        self._came = 0  # bytes of the body
        self._chunked = False
        self._raw: bytes | bytearray = b""  # of the message whose head is not complete
        self._seen = 0  # bytes of this reply
        self._before = 0  # of these, in interim replies; then also in the head
        self._interim = 0
        self._tail = b""  # the last five bytes, where chunked

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises Malformed or NotSpoken; nothing may be fed after that."""
        self._seen += len(data)
        if not self.status:
            if not self._raw:
                self._raw = data
            else:
                if isinstance(self._raw, bytes):
                    self._raw = bytearray(self._raw)
                self._raw += data
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except (HttpParserUpgrade, HttpParserError) as error:
            raise Malformed(_AFTER if self.complete else self._foreign() or str(error)) from None
        if not self.status:
            if len(self._raw) > LARGEST_HEAD:
                raise Malformed(_LONG_HEAD)
            return
        if self._chunked:
            self._tail = (self._tail + data[-5:])[-5:]
        if self.complete and (self._chunked or self._seen != self._before + self._came):
            self._check_end()

    @property
    def needs(self) -> int:
        """How many bytes the body is known to take: its declared length, else what came."""
        declared = None if self.complete else self._declared()
        return self._came if declared is None else declared

    def _declared(self) -> int | None:
        at = self.lower.find(_LENGTH)
        return None if at < 0 else int(self.lower[at + len(_LENGTH) : self.lower.find(b"\r", at + 2)])

    def finish(self) -> bool:
        """The connection ended. True where that makes the reply complete: its body lasts until then."""
        if self.status and not self._chunked and self._declared() is None:
            self.complete = True
        return self.complete

    def close(self) -> None:
        """Frees the parser, which refers to this object."""
        del self._parser

    def on_headers_complete(self) -> None:
        if self.complete:  # of a further reply; a part of its head is found by `_check_end`
            raise Malformed(_AFTER)
        raw = self._raw
        end = raw.find(b"\r\n\r\n") + 4
        if not raw.startswith(b"HTTP/1.1 "):
            if _VERSION.match(raw):
                raise NotSpoken(f"HTTP version {raw[5:8].decode('ascii')}")
            raise Malformed("bytes precede the status line")
        if end > LARGEST_HEAD:
            raise Malformed(_LONG_HEAD)
        status = self._parser.get_status_code()
        if status < 200:
            self._interim_reply(status, end)
            return
        head = bytes(raw[:end])
        if 0 in head:  # NUL in the reason phrase; llhttp refuses it elsewhere
            raise Malformed("NUL in the head")
        lower = head.lower()
        if lower.find(b"-encoding:") >= 0:
            self._read_codings(lower, bodiless=status in BODILESS)
        self.status, self.head, self.lower = status, head, lower
        self._before += end
        self._raw = b""

    def on_body(self, part: bytes) -> None:
        self._came += len(part)
        parts = self.parts
        if len(parts) < FEW:
            parts.append(part)
        elif len(last := parts[-1]) < GATHERED and isinstance(last, bytearray):
            last += part
        else:
            parts.append(bytearray(part))

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def _read_codings(self, lower: bytes, *, bodiless: bool) -> None:
        """The codings that a lower-case head names, of the transfer and of the content."""
        if not bodiless and lower.find(_LENGTH) < 0 and lower.find(b"\r\ntransfer-encoding:") >= 0:
            if _values(lower, b"transfer-encoding") != [b"chunked"]:
                raise Malformed("the transfer coding is not just chunked")
            self._chunked = True
        if lower.find(b"\r\ncontent-encoding:") >= 0:
            self.coding = content_coding(b", ".join(_values(lower, b"content-encoding")).decode("latin-1"))

    def _foreign(self) -> str | None:
        """What the first bytes are where they begin no HTTP reply; None where they do."""
        first = bytes(self._raw[:16])
        if self.status or self._interim or first.startswith(b"HTTP/"[: len(first)]):
            return None
        if first[:2] == b"\x15\x03":
            return "it speaks TLS here: write https:// in model.base_url"
        if first[3:5] == b"\x04\0" or first.startswith(b"PRI * "):
            return "it speaks HTTP/2 alone here, and scorer speaks HTTP/1.1"
        return f"it speaks no HTTP here: its reply begins with {first!r}"

    def _interim_reply(self, status: int, end: int) -> None:
        if status == 101:
            raise NotSpoken("status 101, another protocol")
        if status < 100:
            raise Malformed(f"the status is {status}")
        head = bytes(self._raw[:end]).lower()
        if _values(head, b"transfer-encoding") or set(_values(head, b"content-length")) - {b"0"}:
            raise Malformed("an interim reply names a body")  # there is none, or there is one: parsers differ
        self._interim += 1
        if self._interim > MOST_INTERIM:
            raise Malformed(f"more than {MOST_INTERIM} interim replies")
        self._raw = bytes(self._raw[end:])
        self._before += end

    def _check_end(self) -> None:
        """Raises Malformed where bytes follow the body: llhttp skips empty lines there."""
        # The last line before the empty one is the last chunk's size or a trailer, and neither is empty.
        if not (self._chunked and self._tail.endswith(b"\r\n\r\n") and self._tail[:1] not in (b"\r", b"\n")):
            raise Malformed(_AFTER)


def content_coding(value: str) -> str:
    """The coding that a Content-Encoding names: gzip, deflate, or "" for none. Raises NotDecoded."""
    named = [coding for part in value.lower().split(",") if (coding := part.strip()) not in ("", "identity")]
    if not named:
        return ""
    if len(named) > 1 or named[0] not in CODINGS:
        raise NotDecoded(f"content coding {', '.join(named)!r}")
    return CODINGS[named[0]]


def _values(lower: bytes, name: bytes) -> list[bytes]:
    """The values of all headers of this name in a lower-case head."""
    found = []
    for line in lower.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key == name:
            found.append(value.strip(b" \t"))
    return found
