"""`[canary]`: known rows mixed into a run, and what their answers say of the judge."""
