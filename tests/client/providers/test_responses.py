"""OpenAI's Responses API byte by byte: what is sent, what is read of a reply, and the error raised without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from golden_exchange import FOLDER, check, talk
from hypothesis import given
from hypothesis import strategies as st

from scorer.client.providers.responses import Responses
from scorer.errors import Rejected, RowError, ServerFault, SetupError, Throttled, TransientError
from scorer.types import Completion, Message, Reply, Request

GOLDEN = sorted(FOLDER.glob("responses_*.json"))
ASK = Request(messages=(Message("user", "Grade it."),))


def outcome(body: Any, status: int = 200, request: Request = ASK) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return talk(Responses(name="m", base_url="http://h/v1"), request, [Reply(status, {}, raw)])[1]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_responses_matches_golden_bytes(path: Path) -> None:
    check(path, Responses, {"content-type": "application/json"})


def test_responses_joins_texts_of_messages_and_skips_tool_calls() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Score: "}]}
    other = {"type": "message", "content": [{"type": "output_text", "text": "4"}]}
    found = outcome({"status": "completed", "output": [{"type": "web_search_call"}, message, other]})
    assert found.text == "Score: 4"
    assert found.usage is None


@pytest.mark.parametrize(
    ("code", "kind"), [("rate_limit_exceeded", Throttled), ("server_error", ServerFault), ("anything", ServerFault)]
)
def test_responses_types_failure_under_status_200_by_its_code(code: str, kind: type[Exception]) -> None:
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    found = outcome({"status": "failed", "error": {"code": code, "message": "no"}, "output": [], "usage": usage})
    assert type(found) is kind
    assert found.usage is not None
    assert found.billed


@pytest.mark.parametrize(
    "output", [[{"type": "message"}], [{"type": "message", "content": ["x"]}], ["x"], [{"content": [{"text": 4}]}]]
)
def test_responses_reports_unreadable_output_as_garbled(output: Any) -> None:
    found = outcome({"status": "completed", "output": output})
    assert isinstance(found, ServerFault)
    assert found.garbled


def test_responses_rejects_several_choices_and_given_texts() -> None:
    provider = Responses(name="m")
    with pytest.raises(Rejected, match="one reply a request"):
        next(provider.converse(Request(messages=ASK.messages, choices=3)))
    with pytest.raises(SetupError, match="no log-probabilities of a given text"):
        next(provider.converse(Request(prompt="Paris is in", continuation="France.")))


NAMES = st.sampled_from(
    ["output", "content", "type", "text", "usage", "error", "status", "refusal", "input_tokens", "output_tokens"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([200, 400, 404, 429, 500]))
def test_responses_reads_any_reply_as_completion_or_typed_error(body: Any, status: int) -> None:
    assert isinstance(outcome(body, status), Completion | RowError | TransientError | SetupError)
