"""Promise: `scorer run FILE` without the parser of arguments is what the parser would have called."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scorer.cli.app import command_line
from scorer.cli.options import ViewOptions
from scorer.cli.plain_run import plain_run
from scorer.cli.run_commands import run

TOKEN = st.sampled_from(
    [
        "--quiet",
        "--json",
        "run.toml",
        "<stdin>",
        "a b",
        "--",
        "-x",
        "--help",
        "--quiet=true",
        "--sample",
        "5",
        "run",
        "",
    ]
)


@given(st.lists(TOKEN, max_size=4))
@example(["run.toml"])
@example(["--quiet", "run.toml", "--json"])
def test_a_plain_run_is_what_the_parser_makes_of_the_same_arguments(after: list[str]) -> None:
    tokens = ["run", *after]
    plain = plain_run(tokens)
    if plain is None:
        return
    command, bound, ignored = command_line(tokens).parse_args(tokens, exit_on_error=False, print_error=False)
    assert command is run
    assert not ignored
    found = dict(bound.arguments)
    assert found.pop("run_file") == plain.run_file
    assert found.pop("json", False) == plain.json
    assert found.pop("view_options", ViewOptions()) == ViewOptions(quiet=plain.quiet)
    assert not found


@pytest.mark.parametrize("arguments", ["r.toml", "r.toml --quiet", "--json --quiet r.toml", "<stdin> --json"])
def test_the_plain_forms(arguments: str) -> None:
    assert plain_run(["run", *arguments.split()]) is not None


@pytest.mark.parametrize(
    "tokens",
    [
        [], ["run"], ["plan", "r.toml"], ["--quiet", "run", "r.toml"], ["run", "r.toml", "--sample", "5"],
        ["run", "r.toml", "--set", "a.b=1"], ["run", "r.toml", "s.toml"], ["run", "--help"], ["run", ""],
        ["run", "r.toml", "--quiet", "--quiet"], ["run", "--", "r.toml"], ["run", "-r.toml"],
    ],
)  # fmt: skip
def test_all_other_arguments_are_the_parsers(tokens: list[str]) -> None:
    assert plain_run(tokens) is None
