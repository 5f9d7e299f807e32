"""Child processes, module search path, event loop and threads, memory settings. Imports nothing of scorer."""
