"""The report page's contents: each panel computed from the results of a run, as plain values."""
