"""Marks a cancellation that came before the request was written whole: it cost nothing."""

from __future__ import annotations

import asyncio


class Unsent(asyncio.CancelledError):
    """Cancelled before all of the request was written to the socket: the server never had it whole."""
