"""The commands on finished output, and metrics without a run: status, verify, publish, metrics.

Light to import: each command loads what it needs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json, Out
from scorer.config.out_folder import folder_of
from scorer.counted import counted


def status(out: Out, /, *, json: Json = False) -> int:
    """Show progress, pace, cost, errors and the limiting factor of a run, running or not.

    Example: scorer status out --json
    """
    from scorer.analysis.unread_by_column import unread_by_column
    from scorer.cli.run_text import summary_text
    from scorer.files.router import AnyFiles
    from scorer.output.status import status as status_of

    out = folder_of(out)
    found = status_of(AnyFiles(), out)
    unread = unread_by_column(out, found)
    differs = {"unread_differs": [one.json() for one in unread.found]} if unread.found else {}
    value = {**asdict(found), **differs}
    return answer(json, value, lambda: "\n".join([summary_text(out, found), *unread.notes]))


def verify(out: Out, /, *, remote: Annotated[bool, Parameter(negative="")] = False, json: Json = False) -> int:
    """Check that every input row is there exactly once, intact, scored or failed, and that the ledger agrees.

    Exit 0 where it is so; exit 1 and a list of findings where not.

    Example: scorer verify out

    Parameters
    ----------
    remote
        Also ask the provider for batches of this run that the run does not know.
    """
    from scorer.cli.run_text import findings_text
    from scorer.files.router import AnyFiles
    from scorer.output.verify.folder import verify as verify_folder

    out = folder_of(out)
    verdict = verify_folder(AnyFiles(), out)
    if remote:
        from scorer.job.remote_batches import asked_remotely

        verdict = asked_remotely(AnyFiles(), out, verdict)
    over = f"{counted(verdict.rows, 'row')} of {counted(verdict.shards, 'shard')}"
    whole = f"{out} is complete: {over}, each exactly once."
    value = {**asdict(verdict), "complete": verdict.complete}
    answer(
        json, value, lambda: "\n".join(filter(None, [whole if verdict.complete else "", findings_text(out, verdict)]))
    )
    return 0 if verdict.complete else 1


def publish(
    out: Out,
    /,
    *,
    to: Annotated[str | None, Parameter(help="The table; without it the run's own output.publish.")] = None,
    partition_by: Annotated[
        tuple[str, ...], Parameter(help="A column to partition a new table by; may be repeated.", negative="")
    ] = (),
    json: Json = False,
) -> int:
    """Publish sealed shards to a Delta or Iceberg table. Idempotent: each row once.

    Example: scorer publish out --to delta://lake/scores --partition-by scorer_run

    Example: scorer publish out --to iceberg://catalog/namespace.table
    """
    from scorer.cli.run_text import published_text
    from scorer.files.router import AnyFiles
    from scorer.publish.publish import publish as publish_folder

    found = publish_folder(AnyFiles(), folder_of(out), to, partition_by)
    return answer(json, asdict(found), lambda: published_text(found))


def metrics(
    *inputs: Annotated[str, Parameter(help="Input files of any format, folders of them, or globs.")],
    output: Annotated[str, Parameter(("--output", "-o"), help="The file to write: .parquet, .csv or .jsonl.")],
    names: Annotated[str, Parameter(help="The metrics, with commas between: rouge1,exact_match.")],
    response: Annotated[str, Parameter(help="The column of the texts to score.")],
    reference: Annotated[str | None, Parameter(help="The column of the references, texts or lists of texts.")] = None,
    option: Annotated[
        tuple[str, ...],
        Parameter(help="An option of a metric: NAME.KEY=VALUE, such as rougeL.stemmer=true.", negative=""),
    ] = (),
    json: Json = False,
) -> int:
    """Compute automatic metrics alone, without a judge: the same rows with a column metric_NAME for each.

    Example: scorer metrics in/*.parquet -o scored.parquet --names rouge1,token_f1 --response response --reference gold
    """
    from scorer.cli.analysis_text import measured_text
    from scorer.cli.options import metric_options
    from scorer.job.metrics_only import score_files

    listed = [name.strip() for name in names.split(",") if name.strip()]
    found = score_files(inputs, output, listed, response, reference, options=metric_options(option))
    return answer(json, asdict(found), lambda: measured_text(output, found))
