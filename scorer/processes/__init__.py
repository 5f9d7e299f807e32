"""Child processes of scorer: how they start and where they look for modules. Imports nothing of scorer."""
