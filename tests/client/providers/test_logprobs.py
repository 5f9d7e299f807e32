"""Promise: the likelihood of a text by vLLM is that of exactly its own tokens, or there is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from like_vllm import MODEL, LikeVllm

from scorer.client.providers.openai import OpenAI
from scorer.errors import Rejected, ScorerError, TooLong
from scorer.types import Completion, Request

DIALECTS = ("vllm", "openai")
SHOWN = ("corrected", "blank", "replacement")


def measure(server: LikeVllm, dialect: str, prompt: str, continuation: str) -> Completion | ScorerError:
    judge: Any = OpenAI(name=MODEL, base_url="http://vllm/v1", dialect=dialect)  # type: ignore[arg-type]
    conversation = judge.converse(Request(prompt=prompt, continuation=continuation))
    call = next(conversation)
    try:
        while True:
            call = conversation.send(server.post(call))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    except ScorerError as error:
        return error


def logprobs(result: Completion | ScorerError) -> list[float]:
    assert isinstance(result, Completion), result
    return [token.logprob for token in result.logprobs or ()]


@pytest.mark.parametrize("dialect", [*DIALECTS, "auto"])
@pytest.mark.parametrize(
    ("prompt", "continuation"),
    [
        ("so:", "so ab."),
        ("so:\n", "ab"),  # "\n " is one token: it straddles the border
        ("so: ", "ab"),
        ("so:\n\n", "b"),
        ("<s>", "a<s>a"),
        ("so", "🦙 ok"),
        ("so 🦙", "ok"),
        ("so 🦙", "🦙"),
        ("é", "é"),
        ("no", "no no no"),
        ("x", "a"),  # the token that is generated after it says " a", too
    ],
)
@pytest.mark.parametrize("begins", [True, False])
def test_logprobs_cover_exactly_tokens_of_continuation(
    dialect: str, prompt: str, continuation: str, begins: bool
) -> None:
    server = LikeVllm(begins=begins)
    assert logprobs(measure(server, dialect, prompt, continuation)) == server.truth(prompt, continuation)


def test_logprobs_of_text_beyond_context_are_too_long_and_never_cut() -> None:
    for dialect in DIALECTS:
        assert isinstance(measure(LikeVllm(context=5), dialect, "so:", "so ab."), TooLong)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_logprobs_rejection_is_billed_with_usage(dialect: str) -> None:
    error = measure(LikeVllm(begins=False), dialect, "", "ab")
    assert isinstance(error, Rejected)
    assert error.billed
    assert error.usage is not None
    assert error.usage.prompt_tokens > 0


def test_logprobs_reject_continuation_whose_first_token_has_none() -> None:
    server = LikeVllm(begins=False)
    for dialect in DIALECTS:
        assert isinstance(measure(server, dialect, "", "ab"), Rejected)
    # Here "<s>" is the first token, as echo shows and prompt_logprobs do not.
    assert logprobs(measure(LikeVllm(), "openai", "", "ab")) == LikeVllm().truth("", "ab")
    assert isinstance(measure(LikeVllm(), "vllm", "", "ab"), Rejected)


@pytest.mark.parametrize(
    ("prompt", "continuation", "shown"),
    [
        ("a", "a", "corrected"),  # "a " or "a", then "a"?
        (".\n ", "a", "corrected"),
        ("🦙", "a", "blank"),
        ("\n🦙", "a", "blank"),
        ("", "🦙", "corrected"),
        (" \n", "a", "corrected"),
    ],
)
def test_logprobs_never_guess_text_of_first_token(prompt: str, continuation: str, shown: str) -> None:
    assert isinstance(measure(LikeVllm(shown, begins=False), "vllm", prompt, continuation), Rejected)


TEXTS = st.text(st.sampled_from("abso.é🦙 \n"), max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    prompt=TEXTS,
    continuation=TEXTS.filter(str.strip),
    shown=st.sampled_from(SHOWN),
    dialect=st.sampled_from(DIALECTS),
    begins=st.booleans(),
)
def test_logprobs_never_count_a_token_of_another_text(
    prompt: str, continuation: str, shown: str, dialect: str, begins: bool
) -> None:
    server = LikeVllm(shown, begins=begins)
    result = measure(server, dialect, f"so ab{prompt}", continuation)
    if isinstance(result, Rejected):
        # Where no text tells what a character is made of, the border may be nowhere to be seen.
        assert shown != "corrected"
        return
    assert logprobs(result) == server.truth(f"so ab{prompt}", continuation)
