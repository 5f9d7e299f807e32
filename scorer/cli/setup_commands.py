"""The commands before a run: init, plan.

Light to import: each command loads what it needs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from scorer.cli.answers import answer
from scorer.cli.options import Json, RunFile, SampleOption, Sets
from scorer.cli.plan_choices import NO_CHOICES, ChoiceOptions
from scorer.cli.run_file import tree_of
from scorer.cli.stdio import to_stdout
from scorer.errors import InputError


def init(
    file: Annotated[str, Parameter(help="Where to write it.", show_default=True)] = "run.toml",
    *,
    from_: Annotated[
        tuple[str, ...],
        Parameter(name="--from", help="Files, folders or globs to look at, as input.shards takes them.", negative=""),
    ] = (),
    provider: Annotated[
        str,
        Parameter(
            help="With --from, who judges: openai, anthropic, vllm (a server of your own) or embedded.",
            show_default=True,
        ),
    ] = "openai",
) -> int:
    """Write a commented run file that works without a change: the embedded judge over the bundled sample.

    With --from the run file is for your own data: the columns are guessed, and nothing is sent.

    Example: scorer init run.toml --from logs.jsonl --provider openai
    """
    if from_:
        from scorer.cli.init_from import write_from

        to_stdout(write_from(file, from_, provider))
        missing = ""
    else:
        from scorer.cli.init import missing_parts, write_starter

        write_starter(file)
        missing = missing_parts(file)
    to_stdout(f"Wrote {file}. Next: scorer plan {file}, then scorer run {file}")
    if missing:
        to_stdout(missing)
    return 0


def plan(
    run_file: RunFile,
    /,
    *,
    exact: Annotated[bool, Parameter(negative="")] = False,
    sample: SampleOption = None,
    sets: Sets = (),
    json: Json = False,
    choice_options: ChoiceOptions = NO_CHOICES,
) -> int:
    """Estimate a run: rows, tokens, cost, time. Sends nothing.

    With --choices, --by, --max-usd or -o it compares models, samples and ways to ask criteria, and picks one that fits.

    Example: scorer plan run.toml --exact

    Example: scorer plan run.toml --model gpt-4o --model gpt-4o-mini --by 07:00 --max-usd 400 -o new.toml

    Parameters
    ----------
    exact
        Count every row; else beyond 100,000 rows a sample is counted.
    """
    tree = tree_of(run_file, sets)  # before the other modules: it defines the run file's models

    from scorer.build.plan import check
    from scorer.cli.run_text import plan_text
    from scorer.files.router import AnyFiles
    from scorer.job.estimate import estimate

    found = estimate(check(tree), AnyFiles(), exact=exact, sample=sample)
    if choice_options.wanted:
        from scorer.cli.plan_choices import answered, choices_text

        choices = answered(run_file, tree, choice_options, sample)
        answer(json, {**asdict(found), **choices.json()}, lambda: f"{plan_text(found)}\n\n{choices_text(choices)}")
    else:
        answer(json, asdict(found), lambda: plan_text(found))
    if found.rows and sum(found.rows_bad.values()) >= found.rows:
        raise InputError(
            "No row of the input can be judged; see rows_bad. Correct the input, or the columns of the judge."
        )
    return 0
