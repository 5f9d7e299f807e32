"""Builds a run from its run file: `plan` checks, `assemble` constructs. Imports no job and no worker."""
