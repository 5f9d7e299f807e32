"""The commands by name: where each is defined, and its line in `scorer --help`.

Imports nothing of a command, so that `--help` and a run load no other command's module.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command: its function as "module:name", the first sentence of its docstring, and how cyclopts reads that."""

    function: str
    summary: str
    help_format: str = "plaintext"
    """"markdown" where the docstring has paragraphs of several lines: plaintext keeps their line breaks."""


_SETUP = "scorer.cli.setup_commands:"
_RUN = "scorer.cli.run_commands:"
_BY_HAND = "scorer.cli.by_hand_commands:"
_OUTPUT = "scorer.cli.output_commands:"
_JUDGE = "scorer.cli.judge_commands:"
_SYSTEM = "scorer.cli.system_commands:"
_DECISION = "scorer.cli.decision_commands:"

COMMANDS = {
    "init": Command(
        _SETUP + "init",
        "Write a commented run file that works without a change: the embedded judge over the bundled sample.",
    ),
    "plan": Command(_SETUP + "plan", "Estimate a run: rows, tokens, cost, time. Sends nothing."),
    "run": Command(_RUN + "run", "Score every row. The same command resumes after a stop, a kill or a crash."),
    "rehearse": Command(
        _RUN + "rehearse",
        "Run the job against a local simulated judge, into <output.path>-rehearsal; faults can be injected. Free.",
    ),
    "retry": Command(_RUN + "retry", "Score again only the rows that ended in an error."),
    "reread": Command(_RUN + "reread", "Parse the stored replies again with another reading rule. Sends nothing."),
    "export": Command(
        _BY_HAND + "export",
        "Write the requests of a run as files for a batch that you send yourself. Sends nothing.",
    ),
    "import": Command(
        _BY_HAND + "import_results",
        "Take the results of exported requests into the run. Give all files of a batch at once.",
    ),
    "status": Command(
        _OUTPUT + "status", "Show progress, pace, cost, errors and the limiting factor of a run, running or not."
    ),
    "verify": Command(
        _OUTPUT + "verify",
        "Check that every input row is there exactly once, intact, scored or failed, and that the ledger agrees.",
    ),
    "publish": Command(
        _OUTPUT + "publish", "Publish sealed shards to a Delta or Iceberg table. Idempotent: each row once."
    ),
    "metrics": Command(
        _OUTPUT + "metrics",
        "Compute automatic metrics alone, without a judge: the same rows with a column metric_NAME for each.",
    ),
    "watch": Command(
        "scorer.cli.watch_command:watch",
        "Watch a run until it ends, from any machine that sees its output folder. Exits as the run does.",
    ),
    "show": Command(
        "scorer.cli.show_command:show",
        "Show rows to read: prompt, generation, verdict, reason, human value, tokens and cost.",
        help_format="markdown",
    ),
    "report": Command(
        "scorer.cli.report_command:report",
        "Write one HTML page of a run: the answer, systems, judge, rows to read, errors. It opens offline.",
    ),
    "agree": Command(
        _JUDGE + "agree",
        "Measure the agreement of scores with human values, or of judges with each other.",
    ),
    "bias": Command(
        "scorer.cli.bias_command:bias",
        "Measure bias: length (--text), position (--swapped), self-preference (--own), format (--format).",
        help_format="markdown",
    ),
    "scale": Command(
        _JUDGE + "scale",
        "Measure whether a judge uses one scale across tasks; calibrate it with --calibrate.",
    ),
    "estimate": Command(
        _SYSTEM + "estimate",
        "Estimate the mean human value of all rows, from all scores and a random sample of human labels.",
    ),
    "leaderboard": Command(
        _SYSTEM + "leaderboard", "Rank systems with rank intervals. With --against, by the Bradley-Terry model."
    ),
    "compare": Command(
        _SYSTEM + "compare",
        "Compare variants, or the steps of a learning curve, paired over items; format apart from quality.",
    ),
    "cascade": Command(
        "scorer.cli.cascade_command:cascade",
        "Learn from human labels which verdicts of a cheap judge may be kept, with a guarantee, or refuse.",
    ),
    "curves": Command(
        "scorer.cli.curves_command:curves",
        "Show what training teaches: each step against the first, where it flattens, examples saved, skills lost.",
    ),
    "label": Command(
        "scorer.cli.label_command:label",
        "Draw rows for a person to label: at random within systems, tasks and scores, without the judge's score.",
    ),
    "samples": Command(
        "scorer.cli.samples_command:samples",
        "Measure what one more sample of the judge is worth, from stored replies and human values.",
    ),
    "choose": Command(
        _DECISION + "choose",
        "Choose a system: the cheapest that is surely not worse than the best by more than a margin.",
    ),
    "gate": Command(
        _DECISION + "gate", "Decide in CI whether a new system is not worse than an old one by more than a margin."
    ),
}
"""In the order of their use; `scorer --help` sorts them."""
