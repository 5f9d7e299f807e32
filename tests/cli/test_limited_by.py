"""Promise: the terminal names what requests wait for in the words of the run file, and the disk as the disk."""

from __future__ import annotations

from scorer.output.progress_lines import limited_by


def test_limits_and_waits_for_the_disk_are_told_apart() -> None:
    shares = {"tokens_per_minute": 0.93, "ledger": 0.04, "concurrency": 0.001}
    assert limited_by(shares) == "limited by tokens_per_minute 93%, waiting for disk 4.0%"
    assert limited_by({"ledger": 0.5}) == "waiting for disk 50%"
    assert limited_by({"storage": 0.5}) == "waiting for results to be stored 50%"
    assert limited_by({"opening": 0.5}) == "waiting for the first bills under a cap 50%"
    assert limited_by({}) == ""
