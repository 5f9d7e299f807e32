"""Simulated runs through provider batches: `BatchRun(seed).run()` returns a report with the broken promises."""
