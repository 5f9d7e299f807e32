"""Promise: a judge of two Python functions, or of one generator function, is a judge like any other."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Generator
from enum import Enum
from typing import Any

import pytest

import scorer
from scorer.errors import BadRow, RowError, SpecError, Truncated, Unreadable
from scorer.judges.function import FunctionJudge
from scorer.judges.function_columns import columns_of
from scorer.judges.function_source import reference, resolved, source_of
from scorer.judges.function_table import JudgeTable
from scorer.testing import JudgeContract
from scorer.types import Completion, Judge, Message, Request, Row

ROWS = ({"question": "Greet.", "answer": "Hello."}, {"question": "Count.", "answer": "1, 2"})


def prompt(row: dict[str, Any]) -> str:
    return f"{row['question']}\n{row['answer']}\nScore from 1 to 5?"


def read(reply: str) -> float | None:
    found = re.search(r"[1-5]", reply)
    return None if found is None else float(found[0])


@scorer.judge(scale=[1, 5])
def talk(row: dict[str, Any]) -> Generator[str, str, float]:
    first = yield f"What is wrong with {row['answer']} as an answer to {row['question']}?"
    verdict = yield f"{first}\nScore from 1 to 5?"
    return int(verdict)


def made(table: JudgeTable) -> FunctionJudge:
    return FunctionJudge(**{name: value for name, value in table.items() if name != "kind"})


def converse(judge: Judge, values: dict[str, Any], *answers: str | RowError | Completion) -> tuple[Any, list[Request]]:
    """What the judge returns or raises, and what it asked."""
    asked: list[Request] = []
    conversation = judge(Row("s", 0, values))
    try:
        requests = next(conversation)
        for answer in answers:
            asked += requests
            requests = conversation.send([Completion(answer) if isinstance(answer, str) else answer])
    except StopIteration as end:
        return end.value, asked
    except RowError as error:
        return error, asked
    raise AssertionError("it asks on")


class TestTwoFunctions(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return made(scorer.judge(prompt, read, samples=2))

    def answer(self, request: Request) -> Completion:
        return Completion(f"{1 + len(request.messages[0].content) % 5}")


class TestGeneratorFunction(JudgeContract):
    rows = ROWS

    def make(self) -> Judge:
        return made(talk)

    def answer(self, request: Request) -> Completion:
        return Completion("3")


def test_judge_of_two_functions_reads_their_columns_and_asks_their_prompt() -> None:
    judge = made(scorer.judge(prompt, read, system="Be strict."))
    assert judge.columns == ("question", "answer")
    assert judge.constant == "Be strict.\n\n\nScore from 1 to 5?"
    score, asked = converse(judge, dict(ROWS[0]), "4")
    assert (score.value, score.method) == (4.0, "function")
    assert asked[0].messages == (Message("system", "Be strict."), Message("user", prompt(ROWS[0])))


def test_judge_retries_unreadable_reply_up_to_attempts() -> None:
    judge = made(scorer.judge(prompt, read, attempts=2))
    score, asked = converse(judge, dict(ROWS[0]), "no", "2")
    assert (score.value, len(asked)) == (2.0, 2)
    error, asked = converse(judge, dict(ROWS[0]), "no", "no")
    assert isinstance(error, Unreadable)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("reply_function", "says"),
    [
        (lambda reply: re.search("x", reply)[0], "the function raised TypeError"),  # type: ignore[index]
        (lambda reply: float("nan"), "returned nan, which is no finite number"),
        (lambda reply: reply, "returned 'words', which is no finite number"),
        (lambda reply: 9, "9 is outside the scale 1 to 5"),
        (lambda reply: None, "holds no verdict"),
    ],
)
def test_judge_ends_row_as_unreadable_where_reply_function_fails(reply_function: Any, says: str) -> None:
    judge = made(scorer.judge(prompt, reply_function, scale=[1, 5], attempts=1))
    error, _ = converse(judge, dict(ROWS[0]), "words")
    assert isinstance(error, Unreadable)
    assert says in error.detail
    cut, _ = converse(judge, dict(ROWS[0]), Completion("words", finish_reason="length"))
    assert isinstance(cut, Truncated)


@pytest.mark.parametrize(
    ("prompt_function", "says"),
    [
        (lambda row: row["question"].gone, "The function raised AttributeError"),
        (lambda row: 3 if row["question"] else 4, "returned 3, which is no text"),
        (lambda row: [{"role": "user"}] if row["question"] else [], "which is no text and no list of messages"),
    ],
)
def test_judge_ends_row_as_bad_where_prompt_function_fails(prompt_function: Any, says: str) -> None:
    error, asked = converse(made(scorer.judge(prompt_function, read)), dict(ROWS[0]))
    assert isinstance(error, BadRow)
    assert says in error.detail
    assert not asked


@pytest.mark.parametrize(
    ("reply_function", "specimens"),
    [
        (float, ["1", "2", "1"]),
        (lambda reply: int(re.fullmatch(r"Score: (\d)", reply)[1]), ["Score: 1", "Score: 2", "Score: 1"]),  # type: ignore[index]
        (lambda reply: json.loads(reply)["score"], ['{"score": 1}', '{"score": 2}', '{"score": 1}']),
        (lambda reply: {"Yes": 2, "No": 1}[reply], ["Yes", "Yes", "Yes"]),
        (lambda reply: None, ["1", "2", "1"]),
    ],
)
def test_specimen_is_read_by_reply_function(reply_function: Any, specimens: list[str]) -> None:
    judge = made(scorer.judge(prompt, reply_function, scale=[1, 2]))
    assert [judge.specimen(index) for index in range(3)] == specimens
    assert made(talk).specimen(7) == "3"


def test_judge_takes_messages_and_reason() -> None:
    def conversation(row: dict[str, Any]) -> list[dict[str, str]]:
        return [{"role": "system", "content": "s"}, {"role": "user", "content": row["answer"]}]

    judge = made(scorer.judge(conversation, lambda reply: (1, reply.upper())))
    score, asked = converse(judge, {"answer": "a"}, "why")
    assert (score.value, score.reason) == (1.0, "WHY")
    assert [message.role for message in asked[0].messages] == ["system", "user"]


def test_function_columns_are_those_subscripted_in_source() -> None:
    def several(row: Any) -> str:
        return f"{row['b']} {row.get('a', '')} {row['b']}"

    def passed_on(row: Any) -> str:
        return prompt(row)

    def computed(row: Any) -> str:
        return "".join(row[name] for name in ("a", "b"))

    pair = (lambda row: row["x"]), (lambda row: row["y"])
    assert columns_of(several) == ("b", "a")
    assert columns_of(passed_on) is None
    assert columns_of(computed) is None
    assert [columns_of(one) for one in pair] == [("x",), ("y",)]
    assert columns_of(eval("lambda row: row['z'] + row.get('w')")) == ("z", "w")
    with pytest.raises(SpecError, match="cannot be told from its source"):
        scorer.judge(computed, read)
    assert scorer.judge(computed, read, columns=["a", "b"])["columns"] == ["a", "b"]


def test_function_reference_names_module_functions_and_keeps_others_in_session() -> None:
    assert scorer.judge(prompt, read)["prompt_function"] == f"{__name__}:prompt"
    assert talk["prompt_function"] == f"{__name__}:talk"
    assert resolved(f"{__name__}:talk", "key") is talk.prompt_function
    local = reference(lambda reply: 1)
    assert local.startswith("session:")
    assert resolved(local, "key")("") == 1
    with pytest.raises(SpecError, match="of another Python session"):
        resolved("session:gone#0123", "judge.prompt_function")


class Grade(Enum):
    LOW = 1
    HIGH = 2


def over(value: Any) -> Callable[[Any], Any]:
    def judged(row: Any) -> Any:
        return value, row

    return judged


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, ("a", None)), (1, ("a", 2))),
        (frozenset({"a", "b"}), frozenset({"a", "c"})),
        (re.compile("a"), re.compile("b")),
        (re.compile("a"), re.compile("a", re.IGNORECASE)),
        (Grade.LOW, Grade.HIGH),
        (Enum("Grade", {"LOW": 1}).LOW, Enum("Grade", {"LOW": 2}).LOW),  # type: ignore[attr-defined]
        (int, float),
        (math.sqrt, math.log),
        (str.lower, str.upper),
        (", ".join, "; ".join),
        (over(1), over(2)),
        (over(over(1)), over(over(2))),
    ],
)
def test_source_of_function_covers_what_it_closes_over_where_that_is_fixed(one: Any, other: Any) -> None:
    assert source_of(over(one)) != source_of(over(other))
    assert source_of(over(one)) == source_of(over(one))


@pytest.mark.parametrize(("one", "other"), [([1], [2]), ({"a": 1}, {}), (object(), object())])
def test_source_of_function_does_not_cover_what_may_change_while_it_is_used(one: Any, other: Any) -> None:
    assert source_of(over(one)) == source_of(over(other))


def test_source_of_function_covers_defaults_of_keyword_arguments() -> None:
    def best(given: int) -> Callable[..., str]:
        def judged(row: Any, *, top: int = given) -> str:
            return f"{row['a']} {top}"

        return judged

    assert source_of(best(5)) == source_of(best(5)) != source_of(best(6))


def test_source_of_function_that_is_closed_over_twice_a_level_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    get = inspect.getsource

    def counted(function: Any) -> str:
        reads.append(function)
        return get(function)

    monkeypatch.setattr(inspect, "getsource", counted)
    one = over(0)
    for _ in range(12):
        one = over((one, one))
    source_of(one)
    assert len(reads) == 13


def test_source_of_function_that_closes_over_itself() -> None:
    def again(row: int) -> int:
        return again(row - 1) if row else 0

    assert source_of(again) == source_of(again)


def test_source_of_function_changes_with_text_defaults_and_closure() -> None:
    def factory(scale: int, best: int = 5) -> Any:
        def inner(row: Any, top: int = best) -> str:
            return f"{row['a']} {scale} {top}"

        return inner

    assert source_of(factory(1)) == source_of(factory(1))
    others = {source_of(one) for one in (factory(1), factory(2), factory(1, 4), prompt, read, lambda: 1)}
    assert len(others) == 6
    bare = [eval(f"lambda row: row['a'] + {number}") for number in (1, 1, 2)]
    one, same, other = map(source_of, bare)
    assert one == same != other


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompt_function": prompt}, "needs a second function"),
        ({"prompt_function": "text"}, "takes functions"),
        ({"prompt_function": prompt, "reply_function": 3}, "takes functions"),
    ],
)
def test_judge_rejects_wrong_arguments(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        scorer.judge(**given)


def test_judge_reports_all_wrong_options_at_once() -> None:
    with pytest.raises(SpecError) as raised:
        FunctionJudge(
            prompt_function=f"{__name__}:prompt", columns=[], scale=[5, 1], samples=2, attempts=0, reason="after"
        )
    assert len(raised.value.problems) == 5


def test_a_set_of_functions_that_share_one_counts_the_same_in_any_order() -> None:
    def made() -> Callable[[], object]:
        def shared() -> int:
            return 1

        def first() -> int:
            return shared()

        def second() -> int:
            return -shared()

        both = frozenset([first, second])  # in the order of their addresses
        return lambda: (both, shared)

    kept = [made() for _ in range(50)]
    assert len({source_of(function) for function in kept}) == 1
