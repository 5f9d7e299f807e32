"""A plugin of pytest (`-p support.on_uvloop`): async tests run on uvloop, as the command does."""

from __future__ import annotations

import asyncio

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
