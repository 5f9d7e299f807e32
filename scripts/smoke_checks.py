"""Checks an installed scorer from outside the checkout; writes run.toml and stored replies for scripts/smoke."""

from __future__ import annotations

import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import scorer
from scorer.cli.sample import sample_path

RUN_FILE = """
input.shards = ["{sample}"]
input.id = "id"
judge.prompt = "Rate {{response}} from 1 to 5."
judge.scale = [1, 5]
output.path = "out"
[model]
provider = "recorded"
path = "replies.parquet"
keys = ["id"]
replies = "reply"
"""
CARRIED = {
    "py.typed",
    "config/prices.tsv",
    "cli/sample/generations.jsonl",
    "cli/sample/generations.parquet",
    "report/html/style.css",
    "report/html/script/start.js",
}

home = Path(scorer.__file__).parent
if not home.is_relative_to(sys.prefix):
    sys.exit(f"scorer was imported from {home}, not from the environment {sys.prefix}")
if lacking := sorted(name for name in CARRIED if not (home / name).is_file()):
    sys.exit(f"the distribution lacks {lacking}")
if unloaded := [name for name in dir(scorer) if not name.startswith("_") and getattr(scorer, name) is None]:
    sys.exit(f"scorer lacks {unloaded}")
files = distribution("batch-scorer").files or []
if foreign := sorted(
    {file.parts[0] for file in files} - {"scorer", "..", f"batch_scorer-{scorer.__version__}.dist-info"}
):
    sys.exit(f"the distribution installs more than scorer: {foreign}")
if (owners := set(packages_distributions()["scorer"])) != {"batch-scorer"}:
    sys.exit(f"scorer belongs to {owners}")

ids = pq.read_table(sample_path(), columns=["id"])["id"]
pq.write_table(pa.table({"id": ids, "reply": [f"Score: {1 + i % 5}" for i in range(len(ids))]}), "replies.parquet")
Path("run.toml").write_text(RUN_FILE.format(sample=sample_path()))
