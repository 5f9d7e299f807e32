"""What a person looks at: rows in the terminal, the report page, the live view of a run."""
