"""What a person types and sees: commands, options, tables, progress, signals. Imports everything below it."""
