"""Leaves out the tests of runs in a bucket where the extra lake is not installed."""

from __future__ import annotations

import importlib.util

collect_ignore = [] if importlib.util.find_spec("obstore") else ["test_bucket_outages.py"]
