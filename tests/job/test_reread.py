"""Promise: `reread` reads stored replies by another rule, sends nothing, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rereads import APART, BOTH, NOW_S, PAID, Client, Said, again, found, score, tree, whole

from scorer.build.assemble import Assembled
from scorer.build.plan import check
from scorer.cli.app import _exit_code
from scorer.client.providers.openai import OpenAI
from scorer.engine.replay import Answers, replay
from scorer.errors import BudgetSpent, OutputError, RowError, SpecError, Unreadable
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.job.retry import Retry
from scorer.judges.rating import Rating
from scorer.processes.event_loop import on_loop
from scorer.types import Completion, Reply, Request, Row, Score
from scorer.usage import Spent


def test_reread_with_another_rule_sends_no_request(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    before = found(tmp_path)
    assert before["score"].to_list() == [None, 4, 5, None]
    again(tmp_path, "judge.read=json")
    after = found(tmp_path)
    assert after["score"].to_list() == [3, None, 5, None]
    assert after["error"].to_list() == [None, "Unreadable", None, "Unreadable"]
    assert after["method"].to_list() == ["json", None, "json", None]
    assert after["generation"].unique().to_list() == [1]
    assert after["finished_at"].dt.epoch("s").unique().to_list() == [NOW_S]
    assert after.select(*PAID, "waited_s", "answered_s").equals(before.select(*PAID, "waited_s", "answered_s"))
    assert after["judge"].n_unique() == 1
    assert after["judge"][0] != before["judge"][0]
    assert whole(tmp_path)


def test_reread_with_the_old_rule_restores_the_old_scores(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    before = found(tmp_path)
    again(tmp_path, "judge.read=json")
    again(tmp_path, "judge.read=number")
    columns = ["score", "error", "error_detail", "reason", "samples", *PAID]
    assert found(tmp_path).select(columns).equals(before.select(columns))


def test_reread_gives_the_run_the_new_options_and_fingerprint(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    again(tmp_path, "judge.read=json")
    with pytest.raises(OutputError, match=r'judge\.read was "json" and is now not set'):
        score(tmp_path, BOTH)
    assert score(tmp_path, BOTH, judge={"read": "json"}).asked == 0


def test_reread_adds_columns_for_new_criteria(tmp_path: Path) -> None:
    score(tmp_path, {"r0": "wit: 3\nstyle: 5", "r1": "wit: 1\nstyle: 1"}, judge={"scale": [1, 9]})
    again(tmp_path, 'judge.criteria=["wit", "style"]')
    assert found(tmp_path).select("score_wit", "score_style", "score").rows() == [(3, 5, 4), (1, 1, 1)]
    assert whole(tmp_path)


def test_reread_keeps_the_error_of_rows_without_a_reply(tmp_path: Path) -> None:
    says = {"r0": RowError.__subclasses__()[0]("the filter"), "r1": "4 of", "r2": "Score: 3"}
    score(tmp_path, says)
    assert found(tmp_path)["error"].to_list() == ["Refused", "Unreadable", None]
    again(tmp_path, "judge.scale=[1, 3]")
    assert found(tmp_path).select("error", "error_detail").row(0) == ("Refused", "the filter")


def test_reread_reads_truncated_replies(tmp_path: Path) -> None:
    score(tmp_path, {"r0": "Well, the ...", "r1": "Score: 3"})
    again(tmp_path, "judge.read=json")
    assert found(tmp_path)["error"].to_list() == ["Truncated", "Unreadable"]


def test_reread_of_an_unfinished_run_reads_finished_rows_only(tmp_path: Path) -> None:
    says: dict[str, Said] = {f"r{n}": f"wit: {n % 5 + 1}" for n in range(12)}
    broke = {**says, "r9": BudgetSpent("enough")}
    with pytest.raises(BudgetSpent):
        score(tmp_path, broke)
    done = len(found(tmp_path))
    assert 6 <= done < 12
    again(tmp_path, 'judge.criteria=["wit"]')
    assert found(tmp_path)["score_wit"].null_count() == 0
    assert len(found(tmp_path)) == done
    assert score(tmp_path, says, judge={"criteria": ["wit"]}).asked == 12 - done
    assert found(tmp_path)["score_wit"].to_list() == [n % 5 + 1 for n in range(12)]
    assert whole(tmp_path)


BODY = {
    "model": "gpt",
    "choices": [
        {
            "message": {"content": "4"},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {"token": "4", "logprob": -0.7, "top_logprobs": [
                        {"token": "4", "logprob": -0.6931471805599453}, {"token": "2", "logprob": -0.6931471805599453},
                    ]}
                ]
            },
        }
    ],
}  # fmt: skip


def test_reread_of_whole_replies_can_read_probabilities(tmp_path: Path) -> None:
    score(tmp_path, {"r0": json.dumps(BODY).encode(), "r1": json.dumps(BODY).encode()}, keep_raw="full")
    again(tmp_path, "judge.read=expected")
    assert found(tmp_path)["score"].to_list() == pytest.approx([3, 3])
    again(tmp_path, "judge.read=number")
    assert found(tmp_path)["score"].to_list() == [4, 4]


def test_reread_of_criteria_apart_reads_each_reply_as_before_with_other_weights(tmp_path: Path) -> None:
    score(tmp_path, {"r0": "Score: 2", "r1": "Score: 4"}, judge={**APART, "scale": [1, 5]})
    path = tmp_path / "out" / "scores" / "a.parquet"
    table = pq.read_table(path)
    again(tmp_path, "judge.scale=[0, 5]", "judge.weights=[1, 0]")
    assert pq.read_table(path)["score_wit"].to_pylist() == table["score_wit"].to_pylist()
    assert whole(tmp_path)


def test_reread_command_prints_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score(tmp_path, BOTH)
    assert _exit_code(["reread", f"{tmp_path}/out", "--set", "judge.read=json", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["state"], printed["scored"], printed["errors"]) == ("complete", 2, {"Unreadable": 2})
    assert _exit_code(["reread", f"{tmp_path}/none"]) == 2
    assert not (tmp_path / "none").exists()


def test_retry_after_reread_scores_the_rows_that_the_new_rule_cannot_read(tmp_path: Path) -> None:
    score(tmp_path, BOTH)
    again(tmp_path, "judge.read=json")
    client = score(tmp_path, dict.fromkeys(BOTH, '{"score": 1}'), judge={"read": "json"}, retry=Retry())
    assert client.asked == 2
    assert found(tmp_path).select("score", "generation").rows() == [(3, 1), (1, 2), (5, 1), (1, 2)]
    assert whole(tmp_path)


REPLIES = st.sampled_from(["4", "Score: 2", "none", "3/5", '{"score": 1}', "", "4 or 5"])


@settings(max_examples=50)
@given(
    st.lists(REPLIES | st.none(), min_size=1, max_size=9),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["number", "json"]),
)
def test_reread_with_the_same_rule_gives_the_same_scores(
    said: list[str | None], samples: int, attempts: int, read: str
) -> None:
    """What a judge made of its answers, it makes of those that were kept, where some (None) were no reply to read."""
    judge = Rating(prompt="{id}", samples=samples, attempts=attempts, read=read)
    row = Row("s", 0, {"id": "x"})
    live = iter(said)
    raw: list[str | None] = []

    def talk() -> Score | RowError:
        conversation = judge(row)
        requests = next(conversation)
        try:
            while True:
                texts = [next(live, None) for _ in requests]
                raw.extend(texts)
                requests = conversation.send([Unreadable("cut") if t is None else Completion(t) for t in texts])
        except StopIteration as done:
            made: Score = done.value
            return made
        except RowError as error:
            return error

    once = talk()
    error = once.name if isinstance(once, RowError) else None
    twice = replay(judge, row, Answers(raw, error, "", "stop", provider=lambda _: None))
    if isinstance(once, RowError):
        assert isinstance(twice, RowError)
        assert twice.name == once.name
    else:
        assert twice == once


class OneRequest:
    """A client for samples: OpenAI's own dialect before a server that gives every choice, the row's texts in turn."""

    def __init__(self, says: Mapping[str, Sequence[str]]) -> None:
        self.says = says
        self.asked: list[int] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.choices)
        conversation = OpenAI(name="gpt").converse(request)
        assert json.loads(next(conversation).body).get("n", 1) == request.choices
        texts = self.says[request.messages[-1].content.split()[0]]
        body = {"model": "gpt", "choices": [{"message": {"content": text}} for text in texts[: request.choices]]}
        with pytest.raises(StopIteration) as done:
            conversation.send(Reply(200, {}, json.dumps(body).encode()))
        return replace(done.value.value, spent=Spent(1))


@pytest.mark.parametrize("keep", [True, "full"])
def test_reread_reads_choices_of_one_request_as_samples(tmp_path: Path, keep: bool | str) -> None:
    client = OneRequest({"r0": ["wit: 5\ntact: 2", "wit: 3\ntact: 2"], "r1": ["wit: 1\ntact: 1", "?"]})

    async def connect(*_: object) -> Assembled:
        return Assembled(client, [], 1, [])

    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": list(client.says)}), tmp_path / "in/a.parquet")
    judge = {"criteria": ["wit", "tact"], "samples": 2}
    on_loop(Job(check(tree(tmp_path, judge, keep_raw=keep)), LocalFiles(), connect=connect).run(None))
    before = found(tmp_path)
    assert client.asked == [2, 2]
    assert (before["score"].to_list(), before["samples"].to_list()) == ([3.0, 1.0], [2, 1])
    assert (before["attempts"].to_list(), before["raw"].list.len().to_list()) == ([1, 1], [2, 2])
    again(tmp_path, "judge.weights={wit=2, tact=1}")
    after = found(tmp_path)
    # By hand: (2 x 4 + 1 x 2) / 3, and what is equal stays.
    assert after["score"].to_list() == [pytest.approx(10 / 3), 1.0]
    columns = ["score_wit", "score_tact", "samples", *PAID]
    assert after.select(columns).equals(before.select(columns))
    assert client.asked == [2, 2]


def test_reread_reads_two_turns_in_their_order(tmp_path: Path) -> None:
    class Twice(Client):
        async def complete(self, request: Request) -> Completion:
            self.asked += 1
            return Completion("Dull, a 4.", spent=Spent(1)) if self.asked % 2 else Completion("2", spent=Spent(1))

    async def connect(*_: object) -> Assembled:
        return Assembled(client, [], 1, [])

    client = Twice({})
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": ["r0"]}), tmp_path / "in/a.parquet")
    on_loop(Job(check(tree(tmp_path, {"turns": 2})), LocalFiles(), connect=connect).run(None))
    assert found(tmp_path)["raw"].to_list() == [["Dull, a 4.", "2"]]
    assert found(tmp_path).select("score", "reason").row(0) == (2.0, "Dull, a 4.")
    again(tmp_path, "judge.scale=[1, 3]")
    assert found(tmp_path).select("score", "reason").row(0) == (2.0, "Dull, a 4.")
    for key in ("turns=1", "choices=separate"):
        with pytest.raises(SpecError, match="this key changes the requests"):
            again(tmp_path, f"judge.{key}")
