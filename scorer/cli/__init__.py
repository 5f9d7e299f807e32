"""The command line: commands, options, tables, progress, signals. Imports everything below it."""
