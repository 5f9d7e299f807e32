"""Input files become numbered rows. Imports files; knows no judge and no output."""
