"""The live view of a run: what it shows as lines of text, and how a run is watched from its output folder."""
