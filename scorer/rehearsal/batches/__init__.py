"""Provider batches at the simulated judge: OpenAI's files and batches, Anthropic's message batches, and their faults.

`simulator` decides, given the time and a request; `http` serves it.
"""
