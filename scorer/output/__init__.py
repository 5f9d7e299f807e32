"""The output folder, which is also the checkpoint: segments, sealed files, ledger, resume, verify."""
