"""How a transport tells that a request was cancelled before it was written whole, so that it costs nothing."""

from __future__ import annotations

import asyncio


class Unsent(asyncio.CancelledError):
    """Cancelled before the request was in the system's hands: the judge never had it whole."""
