"""The command line: commands, options, tables, progress, signals. Imports everything below it."""

EARLY = "Interrupted before the command was done. Give it again to do the rest."
"""What a command says where Ctrl-C ends it before it has taken signals into its own hands."""
