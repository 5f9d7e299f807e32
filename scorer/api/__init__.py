"""The Python API: the commands as functions, and the progress of a run in a notebook."""
