"""The command that a budget or a share of failed rows tells the user to type."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from scorer.cli.next_command import next_command
from scorer.config.spec import Spec
from scorer.errors import BudgetSpent, SetupError, TooManyFailed
from scorer.output.status import Status

FOUND = Status("stopped", 1000, 90, 10, 900, {}, 9000, 1000, 0, 100, 1.0, 0.0, 5.0, {}, 1, 0)


def spec(**limits: float) -> Spec:
    return Spec.model_validate(
        {
            "input": {"shards": ["in"]},
            "judge": {"prompt": "{text}"},
            "model": {"name": "m", "max_output_tokens": 64},
            "limits": limits,
            "output": {"path": "my out"},
        }
    )


@pytest.mark.parametrize(
    ("limits", "sets"),
    [
        ({"max_usd": 1.05}, ["limits.max_usd=12"]),
        ({"max_tokens": 10_000}, ["limits.max_tokens=120000"]),
        ({"max_usd": 1.0, "max_tokens": 10_000_000}, ["limits.max_usd=12"]),
    ],
)
def test_budget_is_raised_to_what_the_rest_takes_at_the_rate_so_far(limits: dict[str, float], sets: list[str]) -> None:
    sentence = next_command(BudgetSpent("spent"), ["run", "my run.toml", "--workers", "2"], spec(**limits), FOUND)
    assert sentence is not None
    command = shlex.split(sentence.partition(": ")[2])
    assert command == ["scorer", "run", "my run.toml", "--workers", "2", "--set", *sets]


def test_budget_that_is_named_as_used_up_is_raised_even_where_the_rate_says_that_the_rest_fits() -> None:
    """The next request's reservation did not fit, though the bills of all rows would."""
    nearly = replace(FOUND, prompt_tokens=100, completion_tokens=0)
    said = BudgetSpent("limits.max_tokens = 100000 is used up: the next request may take 99999.")
    sentence = next_command(said, ["run", "r.toml"], spec(max_tokens=100_000), nearly)
    assert sentence is not None
    assert sentence.endswith("scorer run r.toml --set limits.max_tokens=120000")


def test_budget_without_a_finished_row_is_doubled() -> None:
    none = replace(FOUND, scored=0, failed=0, cost_usd=0.0)
    sentence = next_command(BudgetSpent("spent"), ["run", "r.toml"], spec(max_usd=2.0), none)
    assert sentence == "scorer run r.toml --set limits.max_usd=4.8"


@pytest.mark.parametrize(
    ("errors", "command"),
    [
        ({"Truncated": 9, "Refused": 1}, "retry 'my out' --error Truncated --set model.max_output_tokens=128"),
        ({"Unavailable": 9, "Refused": 1}, "retry 'my out' --error Unavailable"),
        ({"Unreadable": 10}, "retry 'my out'"),
    ],
)
def test_failed_rows_are_scored_again_by_the_command_that_helps(errors: dict[str, int], command: str) -> None:
    sentence = next_command(TooManyFailed("failed"), ["run", "r.toml"], spec(), replace(FOUND, errors=errors))
    assert sentence is not None
    assert sentence.endswith(f": scorer {command}")


@pytest.mark.parametrize("given", [["--set", "model.max_output_tokens=500"], ["--set=model.max_output_tokens = 500"]])
def test_output_that_a_retry_found_too_short_is_doubled_again(given: list[str]) -> None:
    typed = ["retry", "my out", "--error", "Truncated", "--set", "limits.max_usd=9", *given]
    sentence = next_command(TooManyFailed("failed"), typed, spec(), replace(FOUND, errors={"Truncated": 10}))
    assert sentence is not None
    assert sentence.endswith("scorer retry 'my out' --error Truncated --set model.max_output_tokens=1000")


def test_no_command_where_none_helps() -> None:
    bad = replace(FOUND, errors={"BadRow": 10})
    assert next_command(TooManyFailed("failed"), ["retry", "out"], spec(), bad) is None
    assert next_command(SetupError("no key"), ["run", "r.toml"], spec(), FOUND) is None


def test_rows_that_no_retry_mends_are_taken_by_a_higher_share() -> None:
    bad = replace(FOUND, failed=101, errors={"BadRow": 101})
    sentence = next_command(TooManyFailed("failed"), ["run", "r.toml"], spec(), bad)
    assert sentence == "To take the rows as they are: scorer run r.toml --set limits.max_failed_share=0.11"


def test_a_key_that_was_set_is_replaced() -> None:
    typed = ["run", "r.toml", "--set", "limits.max_usd=1", "--set=limits.max_usd=1.5", "--set", "output.path=x"]
    sentence = next_command(BudgetSpent("spent"), typed, spec(max_usd=1.5), FOUND)
    assert sentence is not None
    assert sentence.endswith("scorer run r.toml --set output.path=x --set limits.max_usd=12")
