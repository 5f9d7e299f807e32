"""A judge server with declared limits, latency, capacity and faults: for `scorer rehearse` and for the tests.

`simulator` decides what happens to each request; `server` serves it over HTTP, `process` in a child process.
"""
