"""The output and the checkpoint in one: segments, sealing, resume, verify."""
