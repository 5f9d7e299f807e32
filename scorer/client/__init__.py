"""One request: admission, calls, retry, settlement. Imports limits; never the engine."""
