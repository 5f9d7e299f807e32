"""Promise: the judges of docs/published-judges.md can be made as the page says, and read the replies that it shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from driver import talk

from scorer.judges import JUDGES
from scorer.plugins import found
from scorer.types import Row

PAGE = (Path(__file__).resolve().parents[2] / "docs/published-judges.md").read_text()
RECIPE = re.compile(
    r"^## (.*?)\n.*?```toml\n(.*?)```.*?```text\n(.*?)\n```\n\nRead as ([\d.]+?)\.(?:\s|$)", re.M | re.S
)
RECIPES = RECIPE.findall(PAGE)
COLUMNS = ("question", "answer", "baseline_answer", "instruction", "response", "other_response", "reference", "source")


def made(options: dict[str, Any], comment: str) -> Any:
    """The judge, with a prompt that shows the columns which the comment beside `prompt_file` names."""
    del options["prompt_file"]
    prompt = " ".join(re.findall(r"\{\w+\}", comment))
    kind = options.pop("kind", "rating")
    return found(JUDGES[kind], "judge.kind")(
        prompt=prompt, attempts=1, **options | ({"orders": "given"} if kind == "pairwise" else {})
    )


def test_every_section_is_a_recipe() -> None:
    assert [title for title, *_ in RECIPES] == re.findall(r"^## (.*)$", PAGE, re.M)
    assert len(RECIPES) == 8


@pytest.mark.parametrize(("title", "toml", "reply", "score"), RECIPES, ids=[title for title, *_ in RECIPES])
def test_a_published_reply_is_read(title: str, toml: str, reply: str, score: str) -> None:
    judge = made(tomllib.loads(toml)["judge"], toml)
    row = Row("s", 0, dict.fromkeys((*COLUMNS, "summary", "output", "baseline_output"), "text"))
    given, _ = talk(judge, row, [reply])
    assert given.value == float(score)


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("MT-Bench, one answer", "The response is accurate, but it leaves out 2 of the 3 causes"),
        ("Prometheus, one answer", "The response answers 2 of the 3 questions. So the overall score is 3."),
        ("Prometheus, two answers", "Response A is vague, while Response B names all three steps."),
    ],
)
def test_the_reason_is_the_text_without_the_verdict(title: str, reason: str) -> None:
    (toml, reply) = next((toml, reply) for name, toml, reply, _ in RECIPES if name == title)
    judge = made(tomllib.loads(toml)["judge"], toml)
    given, _ = talk(judge, Row("s", 0, dict.fromkeys(COLUMNS, "text")), [reply])
    assert given.reason == reason
