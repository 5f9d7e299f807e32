"""`scorer init --from`: the run file that it writes is one that `plan` accepts over the same data."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.formats import WRITERS, written

from scorer.cli.app import _exit_code
from scorer.config.loader import read_toml

TALK = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yo."}]
MIXED = [{"role": "user", "content": [{"type": "text", "text": "See?"}]}]


def made(tmp_path: Path, rows: list[dict[str, Any]], end: str, *more: str) -> dict[str, Any]:
    """The run file over these rows, which `plan` accepts."""
    path = written(tmp_path / f"data.{end}", WRITERS[end](rows))
    run = tmp_path / "run.toml"
    assert _exit_code(["init", str(run), "--from", str(path), *more]) == 0
    assert _exit_code(["plan", str(run)]) == 0
    return read_toml(str(run))


@pytest.mark.parametrize("end", ["parquet", "jsonl", "csv", "arrow"])
def test_columns_are_guessed_by_their_names(tmp_path: Path, end: str) -> None:
    rows = [
        {"uid": f"u{n}", "Question": "Why?", "output": "So.", "gold": "Yes.", "model": "m", "score": 1}
        for n in range(3)
    ]
    tree = made(tmp_path, rows, end)
    assert tree["input"] == {"shards": [str(tmp_path / f"data.{end}")], "id": "uid", "keep": ["model"]}
    assert tree["judge"]["reference"] == "gold"
    for name in ("Question", "gold", "output"):
        assert f"{{{name}:fenced}}" in tree["judge"]["prompt"]
    assert (tree["model"]["provider"], tree["model"]["api_key_env"]) == ("openai", "OPENAI_API_KEY")
    assert "# Its columns: uid (text), Question (text)," in (tmp_path / "run.toml").read_text()


def test_a_conversation_is_judged_by_its_last_answer(tmp_path: Path) -> None:
    for rows in ([{"id": 1, "messages": TALK}], [{"id": 1, "messages": TALK}, {"id": 2, "messages": MIXED}]):
        tree = made(tmp_path, rows, "jsonl")
        assert "{messages:fenced}" in tree["judge"]["prompt"]
        assert "last answer of the assistant" in tree["judge"]["prompt"]
        (tmp_path / "run.toml").unlink()


def test_fields_within_columns_are_found(tmp_path: Path) -> None:
    tree = made(tmp_path, [{"meta": {"instruction": "Do."}, "result": {"completion": "Done."}}], "jsonl")
    assert "{meta.instruction:fenced}" in tree["judge"]["prompt"]
    assert "{result.completion:fenced}" in tree["judge"]["prompt"]


def test_two_responses_are_compared(tmp_path: Path) -> None:
    tree = made(
        tmp_path, [{"prompt": "Do.", "chosen": "Yes.", "rejected": "No."}], "parquet", "--provider", "anthropic"
    )
    assert (tree["judge"]["kind"], tree["judge"]["a"], tree["judge"]["b"]) == ("pairwise", "chosen", "rejected")
    assert "{prompt:fenced}" in tree["judge"]["prompt"]


def spoken(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a log of requests": (
        {
            "id": "r1",
            "request": {"model": "gpt", "messages": TALK},
            "response": {"id": "x", "choices": [{"message": {"role": "assistant", "content": "Yo."}}]},
        },
        {"shown": ["request.messages", "response.choices[0].message.content"], "id": "id"},
    ),
    "vllm run-batch": (
        {"custom_id": "a much longer text than that", "response": {"body": {"choices": [{"message": TALK[1]}]}}},
        {"shown": ["response.body.choices[0].message.content"]},
    ),
    "MT-Bench": (
        {"question_id": 81, "model_id": "vicuna-of-a-long-name", "choices": [{"turns": ["One.", "Two."]}]},
        {"shown": ["choices[0].turns[0]"], "id": "question_id", "keep": ["model_id"]},
    ),
    "UltraFeedback": (
        {"source": "sharegpt", "instruction": "Do.", "models": ["m"], "completions": [{"model": "m", "response": "x"}]},
        {"shown": ["instruction", "completions[0].response"]},
    ),
    "lm-evaluation-harness": (
        {"doc": {"question": "Why?", "answer": "4"}, "target": "4", "resps": [["So."]], "filtered_resps": "So."},
        {"shown": ["doc.question", "target", "resps[0][0]"], "reference": "target"},
    ),
    "SQuAD": (
        {"question": "Why?", "answers": {"text": ["So."], "answer_start": [1]}, "prediction_text": "Yes."},
        {"shown": ["question", "answers.text[0]", "prediction_text"], "reference": "answers.text[0]"},
    ),
    "HELM": (
        {"instance": {"input": {"text": "Q"}, "references": [{"output": {"text": "R"}}]}, "prediction": "P"},
        {"shown": ["instance.input.text", "prediction"]},
    ),
    "WMT": (
        {"lp": "en-de", "src": "A sentence to translate.", "mt": "Ein Satz.", "ref": "Ein Satz", "sys": "s", "da": 1.0},
        {"shown": ["src", "ref", "mt"], "reference": "ref", "keep": ["sys", "lp"]},
    ),
    "a spreadsheet": (
        {"Row ID": "1", "System Prompt": "A long text", "User Question": "A longer text", "modelAnswer": "a"},
        {"shown": ["User Question", "modelAnswer"], "id": "Row ID"},
    ),
    "chats that were chosen": (
        {"prompt": "Q", "chosen": spoken("A"), "rejected": spoken("B")},
        {"shown": ["prompt", "first", "second"], "a": "chosen", "b": "rejected"},
    ),
    "an arena": (
        {"model_a": "x", "conversation_a": spoken("A"), "conversation_b": spoken("B"), "winner": "tie"},
        {"shown": ["first", "second"], "a": "conversation_a", "b": "conversation_b", "keep": ["model_a", "winner"]},
    ),
    "OpenAI's preferences": (
        {"input": {"messages": TALK}, "preferred_output": spoken("A"), "non_preferred_output": spoken("B")},
        {"shown": ["first", "second"], "a": "preferred_output", "b": "non_preferred_output"},
    ),
}


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize("shape", SHAPES)
def test_data_sets_of_known_shapes(tmp_path: Path, shape: str, end: str) -> None:
    row, expected = SHAPES[shape]
    tree = made(tmp_path, [row, row], end)
    shown = re.findall(r"\{(.*?):fenced\}", tree["judge"]["prompt"])
    given = {key: tree[part][key] for part, key in WHERE if key in tree[part] and key in expected}
    assert {"shown": shown, **given} == expected


WHERE = (("input", "id"), ("input", "keep"), ("judge", "reference"), ("judge", "a"), ("judge", "b"))


def test_a_column_whose_name_stands_twice_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "data.csv", b"text,text,reply\nq,r,s\n")
    assert _exit_code(["init", str(tmp_path / "run.toml"), "--from", str(path)]) == 0
    assert "{reply:fenced}" in read_toml(str(tmp_path / "run.toml"))["judge"]["prompt"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data.csv", "id;reply\n1;a\n", "a table with semicolons between its fields"),
        ("data.tsv", "id\treply\n1\ta\n", "data.tsv has another ending. It looks like a table with tabs"),
        ("data.json", '[\n{"reply": "a"}]', "data.json has another ending. It looks like one JSON array"),
        ("data.jsonl", '{\n "reply": "a"\n}\n', "It looks like JSON objects over several lines"),
    ],
)
def test_a_table_of_another_form_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    written(tmp_path / "data" / name, text.encode())
    assert _exit_code(["init", str(tmp_path / "run.toml"), "--from", str(tmp_path / "data")]) == 2
    assert message in capsys.readouterr().err


def test_without_a_known_name_the_longest_text_is_the_response(tmp_path: Path) -> None:
    rows = [{"x": "short", "y": "a much longer text", "n": 1}]
    tree = made(tmp_path, rows, "jsonl", "--provider", "vllm")
    assert "{y:fenced}" in tree["judge"]["prompt"]
    assert tree["model"]["base_url"] == "http://127.0.0.1:8000/v1"


def test_ids_and_roles_are_no_response(tmp_path: Path) -> None:
    rows = [{"message_id": "0123-4567-89ab", "role": "prompter", "text": "Hi."}]
    assert "{text:fenced}" in made(tmp_path, rows, "jsonl")["judge"]["prompt"]


def test_a_conversation_may_be_of_the_form_of_sharegpt(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Yo."}]
    assert "{turns:fenced}" in made(tmp_path, [{"id": 1, "turns": talk}], "jsonl")["judge"]["prompt"]


def test_odd_names_and_paths_do_not_break_the_file(tmp_path: Path) -> None:
    row = {'an "odd" \\name': "text", "{brace}": "a longer text than that", "task\n": "t", "task": '"'}
    path = written(tmp_path / 'a "b" \\c.jsonl', WRITERS["jsonl"]([row]))
    run = tmp_path / "run.toml"
    assert _exit_code(["init", str(run), "--from", str(path)]) == 0
    tree = tomllib.loads(run.read_text())
    assert tree["input"]["shards"] == [str(path)]
    assert '{an "odd" \\name:fenced}' in tree["judge"]["prompt"]
    assert _exit_code(["plan", str(run)]) == 0


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([{"n": 1, "x": 0.5}], (), "has no column of text that could be judged. Its columns: n (int64), x (double)"),
        (
            [{"model_id": "m", "custom_id": "c"}],
            (),
            "has no column of text that could be judged. Its columns: model_id",
        ),
        ([{"t": "a"}], ("--provider", "nobody"), "--provider nobody is unknown. Allowed: openai, anthropic"),
    ],
)
def test_what_cannot_be_guessed_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], more: tuple[str, ...], message: str
) -> None:
    path = written(tmp_path / "data.jsonl", WRITERS["jsonl"](rows))
    run = tmp_path / "run.toml"
    assert _exit_code(["init", str(run), "--from", str(path), *more]) == 2
    assert message in capsys.readouterr().err
    assert not run.exists()


def test_no_file_is_a_sentence_and_an_existing_run_file_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run.toml"
    assert _exit_code(["init", str(run), "--from", str(tmp_path / "none.jsonl")]) == 2
    assert "matches no file" in capsys.readouterr().err
    run.write_text("mine")
    assert _exit_code(["init", str(run), "--from", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert run.read_text() == "mine"
