"""The rehearsal judge in virtual time: declared limits, balanced counts, and replies that match their verdict."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any, get_args
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import SpecError
from scorer.rehearsal.config import FAULTS, RehearsalConfig
from scorer.rehearsal.limits import Bucket, SimulatedLimits, Window, duration
from scorer.rehearsal.reply_writer import ReplyWriter
from scorer.rehearsal.request_log import Fate
from scorer.rehearsal.simulator import Outcome, RehearsalJudge
from scorer.rehearsal.vocabulary import forced_ids, forced_logprobs, pieces

AT_ONCE = RehearsalConfig(latency_median_s=0)


def question(text: str = "[row:a]", **more: Any) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


def ask(judge: RehearsalJudge, body: Any, now: float = 0.0) -> Outcome:
    return judge.ask("chat", body, now, Random(0))


def choice(outcome: Outcome) -> dict[str, Any]:
    first: dict[str, Any] = json.loads(outcome.body)["choices"][0]
    return first


# --- limits ---------------------------------------------------------------------------------------------------------

arrivals = st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.3, 1.0, 7.0, 59.9, 60.0, 61.0]), st.integers(1, 90)))


@given(arrivals, st.sampled_from([1.0, 5.0, 60.0]), st.sampled_from([None, 30, 120]), st.sampled_from([None, 90, 600]))
@settings(deadline=None, max_examples=60)
def test_simulated_bucket_admits_at_most_burst_and_rate_in_any_window(
    steps: list[tuple[float, int]], burst_s: float, rpm: float | None, tpm: float | None
) -> None:
    config = AT_ONCE.changed({"requests_per_minute": rpm, "tokens_per_minute": tpm, "burst_s": burst_s})
    for admitted, limit, amount_of in _night(config, steps):
        largest = max((amount_of(a) for a in admitted), default=0)
        capacity = max(1.0, limit / 60 * burst_s, largest)
        for i, (first, _) in enumerate(admitted):
            total = 0.0
            for at, tokens in admitted[i:]:
                total += amount_of((at, tokens))
                assert total <= capacity + limit / 60 * (at - first) + 1e-3


@given(arrivals, st.sampled_from([None, 3, 30]), st.sampled_from([None, 90, 200]))
@settings(deadline=None, max_examples=60)
def test_simulated_sliding_window_never_exceeds_limit(
    steps: list[tuple[float, int]], rpm: float | None, tpm: float | None
) -> None:
    config = AT_ONCE.changed({"requests_per_minute": rpm, "tokens_per_minute": tpm, "window": "sliding"})
    for admitted, limit, amount_of in _night(config, steps):
        for end, _ in admitted:
            assert sum(amount_of(a) for a in admitted if a[0] <= end < a[0] + 60) <= limit


def _night(config: RehearsalConfig, steps: list[tuple[float, int]]) -> list[tuple[list[tuple[float, int]], float, Any]]:
    """What was admitted, as (time, tokens), for each limit there is, with how that limit counts it."""
    judge, now = RehearsalJudge(config), 0.0
    admitted = []
    for gap, tokens in steps:
        now += gap
        outcome = ask(judge, question("[row:a] ", max_tokens=tokens), now)  # a prompt of 2 tokens
        if outcome.fate == "ok":
            admitted.append((now, tokens + 2))
    assert judge.request_log.charged_tokens == sum(tokens for _, tokens in admitted)
    counts = [(config.requests_per_minute, lambda a: 1), (config.tokens_per_minute, lambda a: a[1])]
    return [(admitted, limit, amount_of) for limit, amount_of in counts if limit is not None]


@given(arrivals, st.sampled_from(["bucket", "sliding"]), st.integers(1, 90))
def test_simulated_limits_admit_request_after_announced_wait(
    steps: list[tuple[float, int]], window: str, tokens: int
) -> None:
    limits = SimulatedLimits(
        RehearsalConfig().changed({"requests_per_minute": 5, "tokens_per_minute": 90, "window": window}), 0
    )
    now = 0.0
    for gap, taken in steps:
        now += gap
        limits.admit(taken, now)
    refusal = limits.admit(tokens, now)
    if refusal:
        # Both limits may hold it back: the longer wait is the one reported.
        assert limits.admit(tokens, now + refusal.wait_s + 1e-6) is None


def test_simulated_bucket_takes_request_above_its_size_but_not_above_one_minute() -> None:
    bucket = Bucket(per_minute=600, burst_s=1, now=0)
    assert bucket.wait_s(600, 0) == 0
    bucket.take(600, 0)
    assert bucket.wait_s(1, 0) == pytest.approx(59.1)
    assert bucket.wait_s(601, 1000) == math.inf
    assert Window(600).wait_s(601, 0) == math.inf
    refused = ask(RehearsalJudge(AT_ONCE.changed({"tokens_per_minute": 600})), question(max_tokens=600))
    assert refused.status == 429
    assert "retry-after" not in refused.headers
    assert "Request too large" in refused.body.decode()


@pytest.mark.parametrize(("charge", "charged"), [("reserve", 2 + 3 * 50), ("actual", 2 + 3 * 4)])
def test_rehearsal_judge_charges_reserved_maximum_or_actual_tokens(charge: str, charged: int) -> None:
    judge = RehearsalJudge(AT_ONCE.changed({"charge": charge}))
    outcome = ask(judge, question(n=3, max_tokens=50))
    assert judge.request_log.charged_tokens == charged
    assert outcome.bill.completion_tokens == 12
    assert len(json.loads(outcome.body)["choices"]) == 3


def test_rehearsal_judge_keeps_usage_when_limits_change() -> None:
    for window in ("bucket", "sliding"):
        judge = RehearsalJudge(AT_ONCE.changed({"requests_per_minute": 2, "window": window, "burst_s": 60}))
        assert [ask(judge, question()).status for _ in range(3)] == [200, 200, 429]
        judge.configure(judge.config.changed({"requests_per_minute": 3}), 0)
        assert ask(judge, question()).status == (200 if window == "sliding" else 429)
        assert ask(judge, question()).status == 429
        judge.reset(0)
        assert ask(judge, question()).status == 200


def test_rehearsal_judge_sends_rate_headers_of_openai() -> None:
    judge = RehearsalJudge(
        AT_ONCE.changed({"requests_per_minute": 600, "tokens_per_minute": 6000, "burst_s": 60}), epoch=1e9
    )
    assert ask(judge, question(max_tokens=98)).headers == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5900",
        "x-ratelimit-reset-tokens": "1s",
    }
    assert ask(RehearsalJudge(AT_ONCE), question()).headers == {}
    assert [duration(s) for s in (0, 0.0001, 0.12, 1.5, 59.9999, 123)] == [
        "0ms",
        "1ms",
        "120ms",
        "1.5s",
        "1m0s",
        "2m3s",
    ]


# --- pace -----------------------------------------------------------------------------------------------------------


def test_rehearsal_judge_capacity_queues_first_come_first_served() -> None:
    config = RehearsalConfig(latency_median_s=1, latency_sigma=0, capacity=2)
    judge = RehearsalJudge(config)
    assert [ask(judge, question()).delay_s for _ in range(5)] == [1, 1, 2, 2, 3]
    assert ask(judge, question(), now=2.5).delay_s == 1.0  # one place is free at 2.0, the other at 3.0
    assert ask(judge, question(), now=2.5).delay_s == 1.5


def test_rehearsal_judge_capacity_mode_429_refuses() -> None:
    config = RehearsalConfig(latency_median_s=1, latency_sigma=0, capacity=2, capacity_mode="429", retry_after_s=0.25)
    judge = RehearsalJudge(config)
    outcomes = [ask(judge, question()) for _ in range(3)]
    assert [outcome.status for outcome in outcomes] == [200, 200, 429]
    assert (outcomes[2].headers["retry-after"], outcomes[2].headers["retry-after-ms"]) == ("1", "250")
    assert judge.request_log.charged_tokens == sum(o.bill.prompt_tokens + o.bill.completion_tokens for o in outcomes)
    assert ask(judge, question(), now=1.0).status == 200


def test_rehearsal_judge_latency_has_declared_median_and_spread() -> None:
    judge, rng = RehearsalJudge(RehearsalConfig(latency_median_s=0.8, latency_sigma=0.5)), Random(1)
    logs = [math.log(judge.ask("chat", question(), 0, rng).delay_s) for _ in range(2000)]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs))
    assert mean == pytest.approx(math.log(0.8), abs=0.04)  # over three standard errors of 0.011
    assert spread == pytest.approx(0.5, abs=0.03)


# --- counters ---------------------------------------------------------------------------------------------------------

STORM = RehearsalConfig(
    requests_per_minute=600,
    tokens_per_minute=9000,
    capacity=3,
    context_tokens=60,
    poison="poison",
    refuse="refuse",
    cached_share=0.5,
).changed({f"fault_{name}": 0.06 for name in FAULTS})

bodies = st.one_of(
    st.integers(0, 9).map(lambda i: question(f"[row:{i}]", max_tokens=20)),
    st.sampled_from(["poison", "refuse", "x" * 400]).map(question),
    st.none(),
)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.5, 3.0]), bodies, st.booleans())), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_rehearsal_judge_counts_balance_and_repeat_for_one_seed(
    steps: list[tuple[float, Any, bool]], seed: int
) -> None:
    assert _books(steps, seed) == _books(steps, seed)


def _books(steps: list[tuple[float, Any, bool]], seed: int) -> dict[str, Any]:
    judge, rng, now = RehearsalJudge(STORM), Random(seed), 0.0
    waiting: list[tuple[float, int, Outcome, bool]] = []

    def settle_until(end: float) -> None:
        waiting.sort(key=lambda entry: entry[:2])
        while waiting and waiting[0][0] <= end:
            at, _, outcome, delivered = waiting.pop(0)
            judge.settle(outcome, at, delivered=delivered)
            balance()

    def balance() -> None:
        stats = judge.stats()
        assert stats["requests"] == sum(stats[fate] for fate in get_args(Fate)) + stats["in_flight"]
        assert stats["in_flight"] == len(waiting)

    for number, (gap, body, delivered) in enumerate(steps):
        now += gap
        settle_until(now)
        outcome = judge.ask("chat", body, now, rng)
        assert outcome.bill.completion_tokens <= 20
        waiting.append((now + outcome.delay_s, number, outcome, delivered))
        balance()
    settle_until(math.inf)

    stats, rows = judge.stats(), judge.request_log.rows
    assert stats["in_flight"] == 0
    assert sum(counts.paid for counts in rows.values()) == stats["ok"]
    assert sum(counts.lost for counts in rows.values()) == stats["lost"]
    assert all(counts.delivered <= counts.paid <= counts.recv for counts in rows.values())
    assert stats["rows_paid_twice"] == sum(counts.paid > 1 for counts in rows.values())
    assert stats["paid_again"] == sum(max(0, counts.paid - 1) for counts in rows.values())
    seconds = stats["timeline"]
    assert [sum(line[i] for line in seconds) for i in range(1, 5)] == [
        stats[name] for name in ("requests", "ok", "r429", "charged_tokens")
    ]
    return stats


def test_rehearsal_judge_faults_occur_at_declared_rate() -> None:
    config = AT_ONCE.changed({f"fault_{name}": 0.05 for name in FAULTS})
    judge, rng = RehearsalJudge(config), Random(3)
    for _ in range(4000):
        judge.settle(judge.ask("chat", question(), 0, rng), 0, delivered=True)
    assert set(judge.request_log.faults) == set(FAULTS)
    for name, count in judge.request_log.faults.items():
        assert count == pytest.approx(200, abs=62), name  # 4.5 standard deviations of 13.8
    lost = sum(judge.request_log.faults[name] for name in ("reset", "cut", "truncate", "hang"))
    assert judge.request_log.fates["lost"] == lost
    assert judge.request_log.lost["prompt_tokens"] == 2 * lost


def test_rehearsal_judge_reset_keeps_requests_in_flight() -> None:
    judge = RehearsalJudge(RehearsalConfig())
    outcome = ask(judge, question())
    judge.reset(1)
    judge.settle(outcome, 2, delivered=True)
    stats = judge.stats()
    assert (stats["requests"], stats["ok"], stats["in_flight"], stats["timeline"]) == (1, 1, 0, [[1, 0, 1, 0, 0]])


# --- answers --------------------------------------------------------------------------------------------------------

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


# --- llama.cpp's extras -----------------------------------------------------------------------------------------------


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


# --- what comes from outside ------------------------------------------------------------------------------------------

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


# --- config -----------------------------------------------------------------------------------------------------------


def test_rehearsal_config_round_trips_through_json() -> None:
    config = STORM.changed({"labels": ["good", "bad"], "scale": [0, 1], "names": ["a"], "seed": 7})
    assert RehearsalConfig.from_json(config.to_json()) == config


def test_rehearsal_config_reports_all_mistakes_at_once() -> None:
    wrong = {
        "requests_per_minute": 0,
        "window": "fixed",
        "fault_500": 1.5,
        "capacity": 1.5,
        "poison": "(",
        "row_regex": "row",
        "scale": [5, 1],
        "labels": "good",
        "usage": 1,
        "always": "418",
    }
    with pytest.raises(SpecError) as raised:
        RehearsalConfig.from_json(json.dumps(wrong))
    assert sorted({problem.split()[0] for problem in raised.value.problems}) == sorted(wrong)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"rpm": 5}', "rpm is not a key"),
        ('{"fault_500": 0.6, "fault_429": 0.6}', "add up to more than 1"),
        ('{"scale": [0, 1e9]}', "may span at most 10,000"),
    ],
)
def test_rehearsal_config_explains_each_mistake_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        RehearsalConfig.from_json(text)


def test_replies_with_endings_answer_the_prompts_that_end_so() -> None:
    config = AT_ONCE.changed({"replies": ["Score: 9", "low"], "endings": ["to ten?", "to two?"]})
    judge = RehearsalJudge(config)
    said = [choice(ask(judge, question(f"From one {end}")))["message"]["content"] for end in ("to ten?", "to two?")]
    assert said == ["Score: 9", "low"]
    assert choice(ask(judge, question("From one to five?")))["message"]["content"].startswith("Score: ")
    with pytest.raises(SpecError, match="endings must be as many as replies, 2, not 1"):
        config.changed({"endings": ["to ten?"]})
