"""Leaves this folder out where the extra lake is not installed: without it there is nothing here to test."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("obstore") else ["test_*.py"]
