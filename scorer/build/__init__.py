"""A run file becomes running parts: `plan` checks, `assemble` makes. Imports no job and no worker."""
