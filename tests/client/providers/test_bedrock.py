"""Bedrock's Converse API byte by byte, and the signature of its requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from golden_exchange import FOLDER, check, talk
from hypothesis import given
from hypothesis import strategies as st
from support.transport import FakeTransport

from scorer.client.aws_signing import AwsSession, SigningTransport, signed
from scorer.client.providers.bedrock import Bedrock
from scorer.errors import RowError, ServerFault, SetupError, SpecError, TransientError
from scorer.types import Call, Completion, Message, Reply, Request

GOLDEN = sorted(FOLDER.glob("bedrock_*.json"))
ASK = Request(messages=(Message("user", "Grade it."),))


def outcome(body: Any, status: int = 200) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return talk(Bedrock(name="m", base_url="http://h"), ASK, [Reply(status, {}, raw)])[1]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_bedrock_matches_golden_bytes(path: Path) -> None:
    check(path, Bedrock, {"content-type": "application/json"})


@pytest.mark.parametrize("content", [None, ["x"], [{"text": 4}], {}])
def test_bedrock_reports_unreadable_content_as_garbled(content: Any) -> None:
    found = outcome({"output": {"message": {"content": content}}, "stopReason": "end_turn"})
    assert isinstance(found, ServerFault)
    assert found.garbled


def test_bedrock_rejects_temperature_above_1_and_logprobs() -> None:
    with pytest.raises(SpecError, match="Bedrock takes 0 to 1"):
        Bedrock(name="m", base_url="http://h", temperature=1.5)
    with pytest.raises(SetupError, match="no log-probabilities"):
        next(Bedrock(name="m", base_url="http://h").converse(Request(messages=ASK.messages, top_logprobs=5)))


NAMES = st.sampled_from(
    ["output", "message", "content", "text", "toolUse", "usage", "stopReason", "inputTokens", "outputTokens"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([200, 400, 403, 424, 429, 500]))
def test_bedrock_reads_any_reply_as_completion_or_typed_error(body: Any, status: int) -> None:
    assert isinstance(outcome(body, status), Completion | RowError | TransientError | SetupError)


# --- signing ----------------------------------------------------------------------------------------------------------


class Sent(FakeTransport):
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    async def reply(self, call: Call, number: int) -> Reply:
        self.calls.append(call)
        return Reply(200, {}, b"{}")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE0123456789")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "golden-secret-golden-secret")


async def test_signing_transport_signs_each_call_for_body_host_and_region(account: None) -> None:
    sent = Sent()
    transport = SigningTransport(sent, AwsSession(), "eu-central-1")
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/a%3A0/converse"
    for body in (b'{"a":1}', b'{"a":2}'):
        await transport.post(Call(url, body, {"content-type": "application/json"}))
    first, second = (call.headers["Authorization"] for call in sent.calls)
    assert first.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE0123456789/")
    assert "/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=" in first
    assert first != second
    assert sent.calls[0].headers["content-type"] == "application/json"
    assert "golden-secret" not in str(sent.calls[0].headers)


async def test_aws_session_without_credentials_or_region_is_setup_error(
    account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetupError, match="set AWS_REGION"):
        assert AwsSession().region
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert AwsSession().region == "eu-west-1"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SetupError, match="found no AWS credentials"):
        await AwsSession().credentials()


def test_signed_matches_published_signature_version_4(account: None) -> None:
    """Computed anew by hand: AWS, "Create a signed AWS API request" (Signature Version 4)."""
    import hashlib
    import hmac

    from botocore.credentials import ReadOnlyCredentials

    call = Call("https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse", b"{}", {"content-type": "a"})
    headers = signed(call, ReadOnlyCredentials("AK", "SK", None), "eu-west-1")
    date = headers["X-Amz-Date"]
    host = "bedrock-runtime.eu-west-1.amazonaws.com"
    canonical = (
        f"POST\n/model/m/converse\n\ncontent-type:a\nhost:{host}\nx-amz-date:{date}\n\ncontent-type;host;x-amz-date\n"
        f"{hashlib.sha256(b'{}').hexdigest()}"
    )
    scope = f"{date[:8]}/eu-west-1/bedrock/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4SK"
    for part in (*scope.split("/"),):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert headers["Authorization"].endswith(hmac.new(key, text.encode(), hashlib.sha256).hexdigest())
