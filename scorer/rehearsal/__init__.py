"""A judge server with declared limits, latency, capacity and faults: for `scorer rehearse` and for the tests.

Reads from the inside out: config (what it is told to be), limits, vocabulary, question (what is asked), speaker (what
is said), replies (in which words), books (what is remembered), judge (what is decided), server, process.
"""
