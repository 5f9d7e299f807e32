"""A Dagster asset: the scores of a run. The run file is $SCORER_RUN_FILE.

Where the same command can go on by itself (exit codes 5, 7 and 130) Dagster retries; else somebody has to look. What
`--json` tells becomes the materialisation's metadata.
"""

import json
import os
import subprocess

import dagster as dg

AGAIN = {5, 7, 130}
"""In use by another process, storage that could not be written, interrupted."""


@dg.asset(description="Scores of the generations, by a language-model judge.")
def scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    done = subprocess.run(
        ["scorer", "run", os.environ["SCORER_RUN_FILE"], "--json", "--log-format", "json"],
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    for line in lines:
        context.log.info(json.dumps(line))
    if done.returncode in AGAIN:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=600)
    if done.returncode:
        raise dg.Failure(lines[-1]["message"], metadata={"exit_code": done.returncode}, allow_retries=False)
    status = json.loads(done.stdout)
    return dg.MaterializeResult(metadata={key: status[key] for key in ("rows", "scored", "failed", "cost_usd")})


defs = dg.Definitions(assets=[scores])
