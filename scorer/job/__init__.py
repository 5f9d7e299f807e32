"""The order of a job: start, recovery, scoring, estimates, rereading, rehearsals. Imports workers and build."""
