"""Promise: a card shows what was sent about a row, what came back, and what each reply says, of every kind of judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.recorded import recorded_run

from scorer.output.manifest import Manifest
from scorer.report.folding import fold_characters
from scorer.report.page.row_list import Card, Text
from scorer.report.prompt_names import is_prompt
from scorer.report.row_texts import RowTexts, row_texts
from scorer.report.run_table import open_runs
from scorer.report.stored_judge import StoredJudge
from scorer.types import Row

LONG = "a long answer " * 30


def rows(**more: Any) -> list[dict[str, Any]]:
    return [{"id": "r0", "question": "why?", "response": LONG, "human": 2.0, **more}]


def first(out: str | list[str], **options: Any) -> Card:
    return cards(out, **options).cards[0]


def cards(out: str | list[str], **options: Any) -> RowTexts:
    table = open_runs(out)
    return row_texts(table, [(table.shards[0], 0)], **options)


def test_a_card_of_a_rating_has_prompt_texts_verdict_and_facts(tmp_path: Path) -> None:
    out = recorded_run(
        tmp_path, rows(reference="gold"), [["It is fine.\nScore: 4"]], reason="before", reference="reference"
    )
    card = first(out)
    assert (card.id, card.key, card.score, card.human, card.error) == ("0:0", "r0", 4.0, 2.0, None)
    assert list(card.texts) == ["prompt", "question", "response", "reference"]
    assert "[response: below]" in card.texts["prompt"].head
    assert "why?" in card.texts["prompt"].head
    assert card.texts["response"] == Text(LONG)
    (verdict,) = card.verdicts
    assert (verdict.value, verdict.reason, verdict.raw) == ("4", Text("It is fine"), Text("It is fine.\nScore: 4"))
    assert card.facts["requests"] == "1"


def test_a_column_named_prompt_stands_beside_the_prompt_that_was_sent(tmp_path: Path) -> None:
    given = [{"id": "r0", "prompt": LONG, "prompt_id": "p7", "response": "Yes."}]
    card = first(recorded_run(tmp_path, given, [["4"]], prompt="Rate {prompt_id}.\n{prompt}\n{response}"))
    assert list(card.texts) == ["prompt", "prompt_id", "column prompt", "response"]
    assert card.texts["prompt"].head.splitlines() == ["Rate p7.", "[column prompt: below]", "Yes."]
    assert card.texts["column prompt"] == Text(LONG)
    assert [name for name in card.texts if is_prompt(name)] == ["prompt"]


def test_a_prompt_is_verbatim_where_asked(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, rows(), [["4"]], system="Be just.")
    prompt = first(out, verbatim=True).texts["prompt"].head
    assert prompt == f"[system]\nBe just.\n\n[user]\nRate from 1 to 5.\nwhy?\n\n{LONG}"


def test_each_sample_has_its_own_value(tmp_path: Path) -> None:
    card = first(recorded_run(tmp_path, rows(), [["Score: 2", "none", "Score: 5"]], samples=3))
    assert [(one.of, one.value) for one in card.verdicts] == [
        ("recorded", "3.5"),
        ("sample 1", "2"),
        ("sample 2", "Unreadable"),
        ("sample 3", "5"),
    ]


def test_an_unreadable_reply_that_was_asked_again_shows_both(tmp_path: Path) -> None:
    card = first(recorded_run(tmp_path, rows(), [["none", "Score: 5"]], attempts=2))
    assert [(one.of, one.value) for one in card.verdicts[1:]] == [("reply 1", "Unreadable"), ("asked again", "5")]


def test_two_turns_show_the_explanation_and_the_verdict(tmp_path: Path) -> None:
    card = first(recorded_run(tmp_path, rows(), [["Because.", "Score: 3"]], turns=2))
    assert [(one.of, one.value, one.raw) for one in card.verdicts[1:]] == [
        ("explanation", "", Text("Because.")),
        ("reply 2", "3", Text("Score: 3")),
    ]


def test_pairs_show_both_orders_and_what_each_prefers(tmp_path: Path) -> None:
    judge = {"kind": "pairwise", "prompt": "{question}\nA: {first}\nB: {second}", "a": "response", "b": "other"}
    out = recorded_run(tmp_path, rows(other="short"), [["Verdict: A", "Verdict: A"]], scale=None, **judge)
    card = first(out)
    assert list(card.texts)[:2] == ["prompt, given order", "prompt, swapped order"]
    assert list(card.texts)[-2:] == ["a: response", "b: other"]
    assert card.texts["prompt, swapped order"].head == "why?\nA: short\nB: [a: response: below]"
    assert [(one.of, one.value) for one in card.verdicts] == [
        ("recorded", "tie (0.5)"),
        ("given order", "a"),
        ("swapped order", "b"),
    ]


def test_criteria_and_checklists_show_each_answer(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, rows(), [["clear: 4\nshort: 2"]], criteria=["clear", "short"])
    assert first(out).verdicts[0].value == "3"
    assert first(out).facts["score_clear"] == "4"
    other = recorded_run(
        tmp_path, rows(), [["Q1: yes\nQ2: no"]], "checks", kind="checklist", questions=["Good?", "Long?"], scale=None
    )
    assert first(other).facts == {**first(other).facts, "check_1": "yes", "check_2": "no"}


def test_a_panel_shows_the_verdict_of_each_model(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, rows(), [["Score: 4"]], kind="panel", models=["x", "y"])
    assert [(one.of, one.value) for one in first(out).verdicts[1:]] == [("x", "4"), ("y", "4")]


def test_a_failed_row_shows_its_error_and_its_reply(tmp_path: Path) -> None:
    card = first(recorded_run(tmp_path, rows(), [["I would rather not."]]))
    assert (card.score, card.error, card.verdicts[0].value) == (None, "Unreadable", "Unreadable")
    assert card.verdicts[0].raw == Text("I would rather not.")
    assert "no verdict" in card.facts["error"]


def test_several_runs_show_the_verdict_of_each(tmp_path: Path) -> None:
    one = recorded_run(tmp_path, rows(), [["2"]], "one")
    two = recorded_run(tmp_path, rows(), [["5"]], "two")
    card = first([one, two])
    assert [(verdict.of, verdict.value) for verdict in card.verdicts] == [("one", "2"), ("two", "5")]
    assert list(card.texts) == ["prompt", "question", "response"]


def test_without_the_input_a_card_has_what_the_results_have(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, rows(), [["Score: 4"]], keep=["human"])
    (tmp_path / "in.parquet").unlink()
    found = cards(out)
    (card,) = found.cards
    assert (card.score, card.human, card.texts) == (4.0, 2.0, {})
    assert card.verdicts[0].raw == Text("Score: 4")
    assert "in.parquet is not where the run found it" in found.notes[0]


def test_whole_replies_are_shown_as_their_text(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, rows(), [["Score: 4"]])
    assert first(out, fold=fold_characters(6)).verdicts[0].raw == Text("Scor", " 4", 2)


def test_a_likelihood_shows_its_prompt() -> None:
    spec = {
        "input": {"shards": ["x"]},
        "judge": {"kind": "likelihood", "prompt": "{question}"},
        "model": {"name": "m", "base_url": "http://127.0.0.1:1/v1"},
        "output": {"path": "out"},
    }
    judge = StoredJudge(Manifest("0", {}, spec, ""))
    asked = judge.asked(Row("x", 0, {"question": "why?", "response": "because"}), {"raw": [""]})
    assert asked.prompts == [("", "why?")]
    assert [reply.value for reply in asked.replies] == [""]


def test_a_judge_that_cannot_be_made_leaves_the_texts_and_says_why(tmp_path: Path) -> None:
    out = recorded_run(tmp_path, rows(), [["Score: 4"]], keep=["question"])
    manifest = tmp_path / "out" / "run.json"
    manifest.write_text(manifest.read_text().replace('"rating"', '"nowhere:Judge"'))
    found = cards(out)
    assert found.cards[0].verdicts[0].value == "4"
    assert "prompt" not in found.cards[0].texts
    assert "cannot be made here" in found.notes[0]
