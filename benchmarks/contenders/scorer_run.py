"""Ours: `scorer run` as anybody starts it, every default kept. Its run file is written before the clock starts.

Variants: "tokens" declares a token limit, far away, so that tiktoken counts a part of the prompts; "capped" adds a
budget, so that every request waits until its reservation is on disk; "auto" leaves it to the run how many are in
flight; "KEY=NUMBER+..." are limits as they stand, "workers=NUMBER" is how many processes share the work; "batch=JSON"
sends provider batches with these keys of `model.batch`, of which `deadline` is `limits.deadline`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.task import MAX_OUTPUT_TOKENS, MODEL, PROMPT, Task

FAR_AWAY = 10**12
BATCH = {"poll_s": 1.0}
VARIANTS: dict[str, dict[str, int | str]] = {
    "": {},
    "auto": {"concurrency": "auto"},
    "tokens": {"tokens_per_minute": FAR_AWAY},
    "capped": {"tokens_per_minute": FAR_AWAY, "max_usd": 10**6},
}


def command(given: Task) -> list[str]:
    """Writes the run file of a task, and returns the command that does it."""
    option = [f"--{given.variant}"] if given.variant.startswith("workers=") else []
    limits = {"concurrency": given.in_flight, **VARIANTS.get(given.variant, given.limits)}
    tables: dict[str, dict[str, object]] = {
        "input": {"shards": [given.rows], "id": "id"},
        "judge": {"kind": "rating", "prompt": PROMPT, "scale": [1, 5]},
        "model": {
            "name": MODEL,
            "base_url": given.url,
            "api_key_env": "OPENAI_API_KEY",
            "max_output_tokens": MAX_OUTPUT_TOKENS,
        },
        "limits": dict(limits),
        "output": {"path": given.out},
    }
    if given.variant.startswith("batch="):
        batch = BATCH | json.loads(given.variant.removeprefix("batch="))
        if "deadline" in batch:
            tables["limits"]["deadline"] = batch.pop("deadline")
        tables["model"] |= {"mode": "batch", **{f"batch.{key}": value for key, value in batch.items()}}
    text = "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        for name, table in tables.items()
    )
    run_file = Path(f"{given.out}.toml")
    run_file.write_text(text, "utf-8")
    return [sys.executable, "-m", "scorer", "run", str(run_file), "--quiet", *option]
