"""The rehearsal judge's replies match their verdict in every form, and any body has an answer."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rehearsal_questions import AT_ONCE, ask, choice, question

from scorer.errors import SpecError
from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.reply_writer import ReplyWriter
from scorer.rehearsal.simulator import RehearsalJudge
from scorer.rehearsal.vocabulary import forced_ids, forced_logprobs, pieces

texts = st.text(max_size=60)


words = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6, unique=True).map(tuple)


@given(texts)
def test_pieces_concatenate_to_their_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(pieces(text))


@given(texts, st.sampled_from([(1, 5), (0, 10), (0, 1), (-2.5, 2.5)]), words | st.just(()), words | st.just(()),
       st.sampled_from(["number", "bare", "json"]), st.integers(0, 20))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_reply_writer_logprobs_agree_with_text_and_verdict(
    row: str, scale: tuple[float, float], labels: tuple[str, ...], names: tuple[str, ...], answer: str, top: int
) -> None:
    changes = {"scale": scale, "labels": labels, "names": names, "answer": answer}
    speaker = ReplyWriter(AT_ONCE.changed(changes))
    spoken = speaker.say(row)
    entries = spoken.logprobs(top)
    assert "".join(entry["token"] for entry in entries) == spoken.text
    assert b"".join(bytes(entry["bytes"]) for entry in entries) == spoken.text.encode()
    if answer == "json":
        said = json.loads(spoken.text)
        expected = {name: speaker.verdict(row, name if len(names) > 1 else "").label for name in names or ("score",)}
        assert {name: str(said[name]) for name in expected if name != "reason"} == {
            name: label if labels else str(json.loads(label)) for name, label in expected.items() if name != "reason"
        }
    for place, verdict in spoken.verdicts.items():
        assert "".join(spoken.tokens[place:]).startswith(verdict.label)
    for entry in entries:
        alternatives = [other["logprob"] for other in entry["top_logprobs"]]
        assert alternatives == sorted(alternatives, reverse=True)
        assert sum(map(math.exp, alternatives)) <= 1 + 1e-9
        assert len(alternatives) <= top
        if alternatives:
            assert entry["top_logprobs"][0]["token"] == entry["token"]


def test_reply_writer_ranks_verdict_first_among_labels_sharing_first_token() -> None:
    speaker = ReplyWriter(AT_ONCE.changed({"labels": ["bad form", "good", "bad facts"], "answer": "bare"}))
    for number in range(50):
        first = speaker.say(str(number)).logprobs(1)[0]
        assert first["top_logprobs"][0]["token"] == first["token"]


def test_rehearsal_judge_gives_verdict_of_row_as_text_and_as_json() -> None:
    judge = RehearsalJudge(AT_ONCE.changed({"scale": (1, 10)}))
    expected = crc32(b"shard-7") % 10 + 1
    text = "[row:shard-7] Judge this."
    assert choice(ask(judge, question(text)))["message"]["content"] == f"Score: {expected}"
    schema = {"type": "object", "properties": {"reason": {"type": "string"}, "rating": {"type": "integer"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    content = choice(ask(judge, question(text, response_format=asked)))["message"]["content"]
    assert json.loads(content) == {"reason": "Accurate, clear and complete.", "rating": expected}
    assert list(json.loads(content)) == ["reason", "rating"]


def test_reply_writer_gives_one_verdict_per_name_in_schema() -> None:
    speaker = ReplyWriter(AT_ONCE)
    inner = {"properties": {"score": {"enum": [1, 2, 3, 4, 5]}, "reason": {"type": "string"}}}
    schema = {
        "properties": {"coherence": inner, "fluency": inner, "ok": {"type": "boolean"}, "tags": {"type": "array"}}
    }
    said = json.loads(speaker.say("r", schema).text)
    assert said["coherence"]["score"] == int(speaker.verdict("r", "coherence").label)
    assert said["fluency"]["score"] == int(speaker.verdict("r", "fluency").label)
    assert said["coherence"]["reason"] == AT_ONCE.reason
    assert type(said["ok"]) is bool
    assert type(said["tags"]) is list


def test_rehearsal_judge_cuts_reply_at_max_tokens_with_finish_reason_length() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        outcome = ask(RehearsalJudge(AT_ONCE), question(**{name: 2, "logprobs": True, "top_logprobs": 2}))
        cut = choice(outcome)
        assert (cut["message"]["content"], cut["finish_reason"]) == ("Score:", "length")
        assert len(cut["logprobs"]["content"]) == 2
        assert json.loads(outcome.body)["usage"]["completion_tokens"] == 2


def test_rehearsal_judge_usage_has_cached_tokens_only_when_configured() -> None:
    usage = json.loads(ask(RehearsalJudge(AT_ONCE), question("x" * 40)).body)["usage"]
    assert usage == {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
    judge = RehearsalJudge(AT_ONCE.changed({"cached_share": 0.75}))
    usage = json.loads(ask(judge, question("x" * 40)).body)["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 7}
    assert "usage" not in json.loads(ask(RehearsalJudge(AT_ONCE.changed({"usage": False})), question()).body)


def test_rehearsal_judge_prose_fault_stays_within_max_tokens() -> None:
    judge = RehearsalJudge(AT_ONCE.changed({"fault_prose": 1.0}))
    outcome = ask(judge, question(max_tokens=5))
    assert outcome.bill.completion_tokens == 5
    assert choice(outcome)["finish_reason"] == "length"


def test_rehearsal_judge_gives_refused_row_no_content_and_poisoned_row_400() -> None:
    judge = RehearsalJudge(AT_ONCE.changed({"refuse": "bomb", "poison": "venom", "context_tokens": 100}))
    refused = choice(ask(judge, question("a bomb")))
    assert (refused["message"]["content"], refused["finish_reason"]) == (None, "content_filter")
    for text in ("venom", "x" * 401):
        outcome = ask(judge, question(text))
        assert outcome.status == 400
        assert json.loads(outcome.body)["error"]["code"] == "context_length_exceeded"
    assert ask(judge, question("x" * 400)).status == 200


@pytest.mark.parametrize(
    ("always", "status", "code"),
    [
        ("401", 401, "invalid_api_key"),
        ("402", 402, "402"),
        ("404_model", 404, "model_not_found"),
        ("insufficient_quota", 429, "insufficient_quota"),
        ("500", 500, None),
    ],
)
def test_rehearsal_judge_always_gives_same_error_to_every_request(always: str, status: int, code: str | None) -> None:
    judge = RehearsalJudge(RehearsalConfig(always=always))
    outcome = ask(judge, question())
    assert (outcome.status, json.loads(outcome.body)["error"]["code"], outcome.delay_s) == (status, code, 0)
    assert judge.tokenize({"content": "a"}) == (outcome.status, outcome.body)


@given(texts.filter(bool), st.booleans())
def test_rehearsal_judge_forced_decoding_returns_exactly_given_tokens(text: str, room_for_the_end: bool) -> None:
    judge = RehearsalJudge(AT_ONCE)
    status, tokenized = judge.tokenize({"content": text, "add_special": False})
    ids = json.loads(tokenized)["tokens"]
    body = {
        "prompt": "[row:a] Source.\n\nTL;DR:",
        "grammar": "root ::= " + " ".join(f"<[{i}]>" for i in ids),
        "max_tokens": len(ids) + room_for_the_end,
        "temperature": 0,
        "logprobs": 1,
    }
    outcome = judge.ask("text", body, 0, Random(0))
    forced = choice(outcome)
    entries = forced["logprobs"]["content"]
    assert (status, forced["text"]) == (200, text)
    assert forced["finish_reason"] == ("stop" if room_for_the_end else "length")
    assert [e["id"] for e in entries] == [*ids, 2][: body["max_tokens"]]
    tokens = [e["token"] for e in entries]
    assert tokens == [*pieces(text), ""][: body["max_tokens"]]
    assert [e["logprob"] for e in entries] == forced_logprobs(body["prompt"], tokens)
    assert all(-6.1 < e["logprob"] <= -0.1 for e in entries)


def test_rehearsal_judge_refuses_grammar_of_characters_or_unknown_tokens() -> None:
    judge = RehearsalJudge(AT_ONCE)
    assert forced_ids('root ::= "a"') is None
    for grammar in ('root ::= "a"', "root ::= <[7]>", "root ::= <[999999]>", 7):
        outcome = judge.ask("text", {"prompt": "p", "grammar": grammar}, 0, Random(0))
        assert outcome.status == 400, grammar
        assert json.loads(outcome.body)["error"]["param"] == "grammar"
    judge.settle(outcome, 0, delivered=True)
    assert judge.request_log.fates == {"rejected": 1}


def test_rehearsal_judge_plain_completion_is_verdict_text() -> None:
    outcome = RehearsalJudge(AT_ONCE).ask("text", {"prompt": "[row:a]", "logprobs": 3}, 0, Random(0))
    said = choice(outcome)
    assert said["text"].startswith("Score: ")
    assert [len(e["top_logprobs"]) for e in said["logprobs"]["content"]] == [3, 3, 3, 3]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["content", "role", "type", "enum", "properties", "items", "minimum", "maximum", "text"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


KEYS = ["messages", "prompt", "n", "max_tokens", "logprobs", "top_logprobs", "response_format", "grammar", "stream"]


@given(st.sampled_from(["chat", "text"]), junk | st.dictionaries(st.sampled_from(KEYS), junk))
@settings(deadline=None, max_examples=40)
def test_rehearsal_judge_answers_any_body_with_200_or_400(endpoint: Any, body: Any) -> None:
    outcome = RehearsalJudge(AT_ONCE).ask(endpoint, body, 0, Random(0))
    assert outcome.status in (200, 400)
    assert isinstance(json.loads(outcome.body), dict)


@given(junk)
@settings(deadline=None, max_examples=60)
def test_rehearsal_judge_answers_any_schema_with_200_or_400(schema: Any) -> None:
    asked = {"type": "json_schema", "json_schema": {"schema": schema}}
    outcome = ask(RehearsalJudge(AT_ONCE), question(response_format=asked, logprobs=True))
    assert outcome.status == (200 if isinstance(schema, dict) else 400)
    if outcome.status == 200:
        json.loads(choice(outcome)["message"]["content"])


def test_replies_with_endings_answer_the_prompts_that_end_so() -> None:
    config = AT_ONCE.changed({"replies": ["Score: 9", "low"], "endings": ["to ten?", "to two?"]})
    judge = RehearsalJudge(config)
    said = [choice(ask(judge, question(f"From one {end}")))["message"]["content"] for end in ("to ten?", "to two?")]
    assert said == ["Score: 9", "low"]
    assert choice(ask(judge, question("From one to five?")))["message"]["content"].startswith("Score: ")
    with pytest.raises(SpecError, match="endings must be as many as replies, 2, not 1"):
        config.changed({"endings": ["to ten?"]})
