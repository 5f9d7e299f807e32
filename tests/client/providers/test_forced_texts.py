"""The log-probability of a given text: forced tokens, echoed prompts, and where the text begins."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from golden_exchange import talk
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_talk import FORCE, answer, error, provider, reply

from scorer.client.providers.token_boundary import boundary
from scorer.errors import (
    Rejected,
    ScorerError,
    ServerFault,
    SetupError,
    TooLong,
    TransientError,
)
from scorer.types import (
    Completion,
    Reply,
)


def pieces(*named: tuple[int, Any]) -> Reply:
    return reply({"tokens": [{"id": number, "piece": piece} for number, piece in named]})


def forced(*named: tuple[int, str, float], finish_reason: str = "length", status: int = 200) -> Reply:
    content = [{"id": number, "token": token, "logprob": logprob} for number, token, logprob in named]
    return reply({"choices": [{"text": "", "finish_reason": finish_reason, "logprobs": {"content": content}}]}, status)


TOKENS = pieces((7, " France"), (9, "."))
FORCED = forced((7, " France", -0.5), (9, ".", -0.75))


def test_llamacpp_forces_tokens_of_continuation() -> None:
    judge = provider(extra={"top_k": 1, "max_tokens": 3})
    calls, result = talk(judge, FORCE, [TOKENS, FORCED])
    assert [call.url for call in calls] == ["http://h/tokenize", "http://h/v1/completions"]
    assert orjson.loads(calls[0].body) == {
        "content": " France.",
        "add_special": False,
        "parse_special": False,
        "with_pieces": True,
    }
    assert orjson.loads(calls[1].body) == {
        "model": "m",
        "top_k": 1,
        "prompt": "Paris is in",
        "grammar": "root ::= <[7]> <[9]>",
        "max_tokens": 2,
        "temperature": 0,
        "logprobs": 1,
        "seed": 0,
        "cache_prompt": True,
    }
    assert isinstance(result, Completion)
    assert result.text == "France."
    assert [(one.token, one.logprob) for one in result.logprobs or ()] == [(" France", -0.5), (".", -0.75)]
    assert judge.forcing.dialect == "llamacpp"


def test_llamacpp_forcing_reads_bare_ids_and_drops_end_of_text() -> None:
    ended = forced((7, " France", -0.5), (9, ".", -0.75), (0, "", -1.0), finish_reason="stop")
    _, result = talk(provider(), FORCE, [reply({"tokens": [7, 9]}), ended])
    assert isinstance(result, Completion)
    assert len(result.logprobs or ()) == 2


@pytest.mark.parametrize(
    ("replies", "kind", "says"),
    [
        ([TOKENS, forced((7, " France", -0.5))], TooLong, "full after 1 of the response's 2 tokens"),
        ([TOKENS, reply(error("too big", 400, type="exceed_context_size_error"), 400)], TooLong, "too big"),
        ([pieces((7, " "), (8, [240, 159]), (9, [166]))], Rejected, "2 of the response's 3 tokens are parts"),
        ([TOKENS, reply(error("Unexpected empty grammar stack"), 500)], Rejected, "cannot force"),
        ([TOKENS, forced((7, " France", -0.5), (8, "!", -1.0))], ServerFault, "not those that were forced"),
        ([TOKENS, forced((5, " Rome", -0.5), (8, "!", -1.0))], SetupError, "did not follow a token-level grammar"),
        ([TOKENS, reply(answer())], SetupError, "gave no log-probabilities"),
        ([reply(b"", 404)], SetupError, "no llama.cpp /tokenize"),
        ([reply(b"<html>", 200)], ServerFault, "200"),
        ([reply(b"", 503)], ServerFault, "503"),
        ([reply({"tokens": ["a"]})], ServerFault, "without token ids"),
    ],
)
def test_llamacpp_forcing_types_unmeasurable_replies(replies: list[Reply], kind: type[ScorerError], says: str) -> None:
    _, result = talk(provider(dialect="llamacpp"), FORCE, replies)
    assert type(result) is kind
    assert says in str(result)


def test_forcing_keeps_dialect_that_worked_and_reports_its_failure_as_server_fault() -> None:
    judge = provider()
    talk(judge, FORCE, [TOKENS, FORCED])
    calls, result = talk(judge, FORCE, [TOKENS, reply(answer())])
    assert len(calls) == 2
    assert isinstance(result, ServerFault)


def test_forcing_dialect_stays_auto_after_transient_errors() -> None:
    judge = provider()
    for broken in (reply(b"", 503), reply(b"<html>"), reply(b"", 429)):
        assert isinstance(talk(judge, FORCE, [broken])[1], TransientError)
    assert judge.forcing.dialect == "auto"


def echoed(tokens: list[str], offsets: list[int], logprobs: list[float | None]) -> Reply:
    lists = {"tokens": tokens, "text_offset": offsets, "token_logprobs": logprobs}
    return reply({"choices": [{"text": "", "logprobs": lists}]})


@pytest.mark.parametrize(
    ("tokens", "offsets", "own"),
    [
        (["Paris is", " in", " France", ".", "<end>"], [0, 8, 11, 18, 19], [" France", "."]),
        (["Paris is", " in Fra", "nce", "."], [0, 8, 15, 18], [" in Fra", "nce", "."]),
        (["Paris is in", " ", "France."], [0, 11, 12], [" ", "France."]),
    ],
)
def test_echo_takes_every_token_overlapping_continuation(tokens: list[str], offsets: list[int], own: list[str]) -> None:
    logprobs = [None, *(-float(number) for number in range(1, len(tokens)))]
    _, result = talk(provider(dialect="openai"), FORCE, [echoed(tokens, offsets, logprobs)])
    assert isinstance(result, Completion)
    assert [one.token for one in result.logprobs or ()] == own


@pytest.mark.parametrize(
    ("echo", "kind"),
    [
        (echoed(["Paris is in", " Rome."], [0, 11], [None, -1.0]), Rejected),
        (echoed(["Paris is in", " France."], [0, 11], [None, None]), Rejected),
        (echoed(["Paris is in", " France."], [0], [None, -1.0]), ServerFault),
        (reply(answer()), SetupError),
    ],
)
def test_echo_types_unmeasurable_replies(echo: Reply, kind: type[ScorerError]) -> None:
    assert type(talk(provider(dialect="openai"), FORCE, [echo])[1]) is kind


@pytest.mark.parametrize(
    ("tokens", "prompt", "continuation", "start"),
    [
        (["<s>", "Paris", " is", " in", " France", "."], "Paris is in", "France.", 4),
        (["Paris", "is", "in", "France", "."], "Paris is in", "France.", 3),
        (["A", ":", "\n", " yes"], "A:\n", "yes", 3),
        (["A", ":", "\n\n", " ", "5"], "A:\n\n", "5", 3),
        (["A", ":\n", " ", " ", "5"], "A:\n ", "5", 3),
        (["A", ":\n\n", "5"], "A:\n\n", "5", 2),
        (["a", " a", " a", " a"], "a a", "a a", 2),
        (["ab", "cd", "ef"], "abc", "def", 1),
        (["so", " \ufffd", "\ufffd", "\ufffd", " ok"], "so", "🦙 ok", 1),
        (["so", " x", "\ufffd", "\ufffd"], "so", "x🦙", 1),
        (["\ufffd", "\ufffd", " \ufffd", "\ufffd"], "🦙", "🦙", None),
        (["so", " no"], "so", "yes", None),
        ([], "so", "yes", None),
    ],
)
def test_boundary_finds_start_of_continuation(
    tokens: list[str], prompt: str, continuation: str, start: int | None
) -> None:
    assert boundary(tokens, prompt, continuation) == start


TEXTS = st.text(st.sampled_from("ab.é🦙 \n\u00a0"), max_size=20) | st.text(max_size=20)


@settings(max_examples=40, deadline=None)
@given(prompt=TEXTS, continuation=TEXTS.filter(str.strip), cuts=st.sets(st.integers(0, 60)), begun=st.booleans())
def test_boundary_splits_any_tokens_of_any_text(prompt: str, continuation: str, cuts: set[int], begun: bool) -> None:
    text = f"{prompt} {continuation}"
    if "\ufffd" in text:
        return
    # A cut at the border itself, as tokenisers make that keep the space with the word.
    places = sorted({0, len(text), len(prompt), *(cut for cut in cuts if cut < len(text))})
    tokens = ["<s>"] * begun + [text[a:b] for a, b in pairwise(places)]
    start = boundary(tokens, prompt, continuation)
    assert start is not None
    assert "".join(tokens[start:]) == f" {continuation}"
