"""Detects by its id a reply that a server sent twice on a keep-alive connection. One object for each endpoint.

The second copy would be read as the reply to the next request, and each later reply as that to the one after its own.
Knows nothing of HTTP, of dialects or of requests.
"""

from __future__ import annotations

import re

import msgspec

from scorer.types import Reply

REMEMBERED = 64
"""So many ids are known of the last replies on a connection: a copy may come after the replies to later requests."""
CONFIRMED = 3
"""After so many replies that were sent twice, no connection to the endpoint is used for a second request."""


class _Named(msgspec.Struct):
    id: str | int | None = None
    responseId: str | None = None  # Gemini's name for it


_decode = msgspec.json.Decoder(_Named).decode
_leading_id = re.compile(rb'\{\s*"id"\s*:\s*"([\x20\x21\x23-\x5b\x5d-\x7e]+)"').match


def reply_id(body: bytes) -> str | None:
    """The id at the top of a reply; None where it has none, or is no JSON object."""
    if (leading := _leading_id(body)) is not None:  # as most servers write it: nothing else is read
        return leading[1].decode("ascii")
    try:
        named = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    found = named.id or named.responseId
    return None if found is None else str(found)


class DuplicateReplies:
    """Finds replies of one endpoint that may be copies of an earlier one.

    An id says something only where two replies had different ones. Then a reply with the id of one of the last on its
    connection is doubted, and its request is asked once more on a new connection. The same id there: this endpoint
    gives the same id to different replies (a cache may), and `off` says that its ids are not looked at any more.
    """

    def __init__(self) -> None:
        self.off = False
        self.kept = True
        """Connections may be used for a second request; else each request wants one of its own."""
        self._known: str | None = None
        self._differ = False
        self._confirmed = 0

    def doubts(self, reply: Reply, before: str | None) -> str | None:
        """The id for which a reply may be another's; None where it is its own as far as anybody can tell.

        `before` is the id that was doubted when the same question was asked on another connection; this one is new.
        """
        line = reply.line
        if line is None or self.off or (found := reply_id(reply.body)) is None:
            return None
        ids = line.ids
        again = found in ids
        ids[found] = None
        if len(ids) > REMEMBERED:
            del ids[next(iter(ids))]
        if before is not None:
            self.off = found == before
            self._confirmed += not self.off
            self.kept = self._confirmed < CONFIRMED
        if self._known is None:
            self._known = found
        elif found != self._known:
            self._differ = True
        return found if again and self._differ and not self.off else None
