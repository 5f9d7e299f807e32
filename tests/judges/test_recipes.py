"""Every recipe of docs/how-to/recipes.md: its run file is valid, its commands exist, its judge reads such replies."""

from __future__ import annotations

import math
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from driver import Answer, talk

from scorer.build.plan import check
from scorer.cli.app import command_line
from scorer.errors import Unreadable
from scorer.types import Completion, Row, TokenLogprob

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/recipes.md").read_text()
SHARED, *RECIPES = re.split(r"^## (?!The prompt as a file)", PAGE, flags=re.MULTILINE)
TEXTS = {recipe.partition("\n")[0]: recipe for recipe in RECIPES}
COLUMNS = {
    "question": "Why?", "response": "So.", "reference": "Thus.", "answer": "So.", "baseline": "No.", "answer_a": "Yes.",
    "answer_b": "No.",
}  # fmt: skip


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a run file, key by key; those of `other` come first."""
    return {section: {**one.get(section, {}), **other.get(section, {})} for section in {**one, **other}}


@pytest.fixture
def judge_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The judge that a recipe's run file makes, with a prompt file of our own in place of the published one."""

    def judge(name: str, **options: Any) -> Any:
        (shown,) = blocks(TEXTS[name], "text")
        (shared,) = blocks(SHARED, "text")
        own, common = tomllib.loads(shown), tomllib.loads(shared)
        if own["judge"].get("kind") == "reward":  # its [model] is whole, and its prompt is no published one
            return check({**common, **own}).judge
        tree = merged(merged(common, own), {"judge": options})
        pair = tree["judge"].get("kind") in ("pairwise", "versus_reference")
        prompt = Path(tree["judge"]["prompt_file"])
        prompt.parent.mkdir(exist_ok=True)
        prompt.write_text("{question}\n{first}\n{second}" if pair else "{question}\n{response}")
        return check(tree).judge

    monkeypatch.chdir(tmp_path)
    return judge


def value(judge: Any, replies: list[Answer]) -> float:
    score, _ = talk(judge, Row("s.parquet", 0, COLUMNS, tokens=9), replies)
    assert score.value is not None
    return score.value


def label(text: str, **mass: float) -> Completion:
    """A reply whose last token is one of two labels, each with its probability."""
    top = tuple((name, math.log(share)) for name, share in mass.items())
    return Completion(text, logprobs=(TokenLogprob(text, math.log(mass[text]), top),))


SINGLE = [
    ("MT-Bench, single answer", 7.0, ["Rating: [[7]]"]),
    ("MT-Bench, single answer", 6.5, ["It answers 2 of the 3 questions.\n\nRating: [[6.5]]"]),
    ("MT-Bench, single answer", 10.0, ["**Rating: [[10]]**"]),
    ("MT-Bench, single answer", 3.0, ["The 9 examples are wrong, and a 5 would flatter it.\nRating: [[3]]\n"]),
    ("MT-Bench, single answer", 5.0, ['As "[[rating]]" is asked for:\nRating: [[5]]']),
    ("MT-Bench, single answer", None, ["Rating: [[11]]"]),
    ("MT-Bench, single answer", None, ["It is a fair answer."]),
    ("Prometheus, absolute", 4.0, ["Feedback: Three of four points are there. [RESULT] 4"]),
    ("Prometheus, absolute", 2.0, ["Feedback: A score of 3 would need a source.\n[RESULT]\n2"]),
    ("Prometheus, absolute", 5.0, ["[RESULT] 5"]),
    ("Prometheus, absolute", 4.0, ["Feedback: Sound. [RESULT] (4)"]),
    ("Prometheus, absolute", None, ["Feedback: Sound. [RESULT] 6"]),
    ("G-Eval", 4.0, ["4"] * 10 + ["- Coherence: 4"] * 5 + ["Coherence (1-5): 4"] * 5),
    ("G-Eval", 3.25, ["3"] * 15 + ["4\n"] * 5),
    ("Response and reference in one call", 8.0, ["8 9"]),
    ("Response and reference in one call", 7.5, ["7.5, 10\nThe second names the source."]),
    ("Response and reference in one call", 8.0, ["Score 1: 8\nScore 2: 9"]),
    ("Response and reference in one call", 6.0, ["Assistant 1: 6/10\nAssistant 2: 9/10"]),
    ("Response and reference in one call", None, ["8"]),
    ("Response and reference in one call", None, ["11 9"]),
    ("Reward model", 0.75, ['{"values": [1.0986122886681098]}', '{"values": [0.0]}']),
    ("Reward model", None, ["It is a fair answer.", '{"values": [0.0]}']),
    ("Classifier", 0.25, ['{"values": [0.75, 0.25], "labels": ["negative", "positive"]}']),
    ("Classifier", None, ['{"values": [null, 0.25], "labels": ["positive", "negative"]}']),
]
BOTH = [
    ("MT-Bench, pair", 1.0, "Assistant A is right, B is not.\n\n[[A]]", "B says it.\n[[B]]"),
    ("MT-Bench, pair", 0.5, "My final verdict is: [[C]]", "[[C]]"),
    ("MT-Bench, pair", 0.5, "[[A]]", "[[A]]"),
    ("MT-Bench, pair", 0.0, "Assistant A's is longer, B's is right. [[B]]", "**[[A]]**"),
    ("MT-Bench, pair", None, "Both are good.", "[[A]]"),
    ("Arena-Hard", 1.0, "My final verdict is: Assistant A is significantly better: [[A>>B]]", "[[B>>A]]"),
    ("Arena-Hard", 0.75, "[[A>B]]", "**My final verdict is: [[B>A]]**"),
    ("Arena-Hard", 0.5, "My final verdict is tie: [[A=B]]", "[[A=B]]."),
    ("Arena-Hard", 0.125, "[[B>A]]", "## Verdict\n\n[[A>>B]]"),
    ("Arena-Hard", None, "[[A]]", "[[A>B]]"),
    ("Prometheus, relative", 1.0, "Feedback: A is thorough. [RESULT] A", "[RESULT] B"),
    ("Prometheus, relative", 0.0, "Feedback: A errs.\n[RESULT] B", "Feedback: .. [RESULT] (A)"),
    ("Prometheus, relative", None, "Feedback: [RESULT] C", "[RESULT] A"),
    ("AlpacaEval", 0.75, label("m", m=0.8, M=0.2), label("M", m=0.3, M=0.7)),
    ("AlpacaEval", 0.25, label("M", m=0.3, M=0.7), label("m", m=0.8, M=0.2)),
    ("AlpacaEval, ranking", 1.0, "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]",
     '[{"model": "model_2", "rank": 1}, {"model": "model_1", "rank": 2}]'),
    ("AlpacaEval, ranking", 0.0, "[{'model': 'model_2', 'rank': 1},\n {'model': 'model_1', 'rank': 2}]",
     "[{'model': 'model_2', 'rank': 2}, {'model': 'model_1', 'rank': 1}]"),
    ("AlpacaEval, ranking", None, "model_1 is better", "model_2 is better"),
]  # fmt: skip


def test_recipes_all_have_test_replies() -> None:
    assert {name for name, *_ in [*SINGLE, *BOTH]} == set(TEXTS)


@pytest.mark.parametrize(
    ("name", "expected", "replies"), [*SINGLE, *((name, score, [*two]) for name, score, *two in BOTH)]
)
def test_recipe_judges_read_replies_of_their_form(
    judge_of: Callable[..., Any], name: str, expected: float | None, replies: list[Answer]
) -> None:
    judge = judge_of(name, attempts=1)
    if expected is None:
        with pytest.raises(Unreadable):
            value(judge, replies)
    else:
        assert value(judge, replies) == pytest.approx(expected)


def test_g_eval_recipe_weighs_scores_by_probability(judge_of: Callable[..., Any]) -> None:
    judge = judge_of("G-Eval", read="expected", samples=1)
    top = tuple((str(n), math.log(share)) for n, share in ((3, 0.25), (4, 0.5), (5, 0.25)))
    assert value(judge, [Completion("4", logprobs=(TokenLogprob("4", math.log(0.5), top),))]) == pytest.approx(4.0)


def test_reference_recipe_gives_ratio_of_response_to_reference(judge_of: Callable[..., Any]) -> None:
    score, asked = talk(
        judge_of("Response and reference in one call"), Row("s.parquet", 0, COLUMNS, tokens=9), ["6, 8"]
    )
    assert score.fields == {"score_reference": 8.0, "score_ratio": 0.75}
    assert [request.messages[-1].content for request in asked[0]] == ["Why?\nSo.\nThus."]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_recipe_commands_exist(name: str) -> None:
    lines = [line for block in blocks(TEXTS[name], "sh") for line in block.splitlines()]
    assert lines
    for line in lines:
        words = shlex.split(line)[1:]
        command, bound, *_ = command_line(words).parse_args(words, print_error=False, exit_on_error=False)
        assert command.__name__ in line
        assert "out" in bound.args
