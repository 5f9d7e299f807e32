"""Whole runs at other addresses: replicas of which one is dead, the Responses API, Bedrock with a key or signed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clock import inline
from support.clock import run as in_virtual_time
from support.transport import FakeTransport

from scorer.build.assemble import make_client
from scorer.build.plan import check
from scorer.errors import SpecError, Unreachable
from scorer.files.local_files import LocalFiles
from scorer.job.job import Job
from scorer.output.status import Status
from scorer.types import Call, Reply

CHAT = {"model": "m", "choices": [{"message": {"content": "Score: 4"}, "finish_reason": "stop"}]}
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


class Fleet(FakeTransport):
    """Answers each address by `bodies`; None is a replica that nobody reaches."""

    def __init__(self, bodies: dict[str, Any], answered_after_s: float = 0.5) -> None:
        super().__init__()
        self.bodies = bodies
        self.answered_after_s = answered_after_s
        self.asked: Counter[str] = Counter()
        self.calls: list[Call] = []

    async def reply(self, call: Call, number: int) -> Reply:
        self.calls.append(call)
        address = next(one for one in self.bodies if call.url.startswith(one))
        self.asked[address] += 1
        await asyncio.sleep(self.answered_after_s)
        if self.bodies[address] is None:
            raise Unreachable(f"cannot reach {address}")
        return Reply(200, {"content-type": "application/json"}, orjson.dumps(self.bodies[address]))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"base_url": "http://j/v1/responses"}, 'model.api = "responses"; else leave /responses out of the address.'),
        ({"base_url": "http://j/v1/messages/"}, 'model.provider = "anthropic"; else leave /messages out'),
        ({"base_url": "http://j/v1/chat/completions", "api": "responses"}, "without model.api; else leave"),
        ({"base_url": "http://j/v1/chat/completions", "provider": "anthropic"}, 'model.provider = "openai" without'),
        ({"base_url": "http://j/model/m/converse"}, 'model.provider = "bedrock" and an address that ends before'),
        ({"base_urls": ["http://j/v1", "http://k/v1/responses"]}, 'model.base_url = "http://k/v1/responses" is an'),
    ],
)
def test_an_address_of_another_api_is_refused(tmp_path: Path, model: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as refused:
        run(tmp_path, Fleet({}), model)
    assert says in str(refused.value)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(
    "model",
    [
        {"base_url": "http://j/v1/responses", "api": "responses"},
        {"base_url": "http://j/v1/messages", "provider": "anthropic"},
        {"base_url": "http://j/v1/chat/completions/"},
        {"base_url": "http://j/responses/v1"},
    ],
)
def test_an_address_of_the_models_own_api_is_taken(tmp_path: Path, model: dict[str, Any]) -> None:
    tree = {"input": {"shards": ["x.parquet"]}, "judge": {"prompt": "{a}"}, "output": {"path": "out"}}
    check({**tree, "model": {"name": "m", **model}})


def run(
    folder: Path, fleet: Fleet, model: dict[str, Any], rows: int = 40, loop: Callable[..., Any] = in_virtual_time
) -> Status:
    (folder / "in").mkdir(exist_ok=True)
    pq.write_table(pa.table({"a": [f"text {n}" for n in range(rows)]}), folder / "in/a.parquet")
    tree = {
        "input": {"shards": [f"{folder}/in/*.parquet"]},
        "judge": {"prompt": "Rate {a:fenced} from 1 to 5.", "scale": [1, 5]},
        "model": {"name": "m", "price": {"input": 1.0, "output": 2.0}, **model},
        "limits": {"concurrency": 4},
        "output": {"path": f"{folder}/out"},
    }
    job = Job(check(tree), LocalFiles(), offload=inline, connect=partial(make_client, transport=fleet))
    found: Status = loop(job.run())
    return found


def test_replicas_share_the_rows_and_a_dead_one_stops_none(tmp_path: Path) -> None:
    addresses = [f"http://10.0.0.{n}:8000/v1" for n in range(1, 4)]
    fleet = Fleet({address: {**CHAT, "usage": USAGE} for address in addresses} | {addresses[1]: None})
    found = run(tmp_path, fleet, {"base_urls": addresses}, rows=200)
    assert (found.scored, found.failed) == (200, 0)
    assert fleet.asked[addresses[0]] > 50
    assert fleet.asked[addresses[2]] > 50
    assert fleet.asked[addresses[1]] < 30


def test_run_over_the_responses_api(tmp_path: Path) -> None:
    body = {
        "status": "completed",
        "model": "m-1",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Score: 4"}]}],
        "usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
    }
    fleet = Fleet({"https://api.openai.com": body})
    found = run(tmp_path, fleet, {"api": "responses"})
    assert (found.scored, found.prompt_tokens, found.completion_tokens) == (40, 400, 80)
    assert {call.url for call in fleet.calls} == {"https://api.openai.com/v1/responses"}


BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Score: 4"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 10, "outputTokens": 2, "totalTokens": 12},
}
ADDRESS = "https://bedrock-runtime.eu-west-1.amazonaws.com"


def test_run_over_bedrock_signed_by_the_aws_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE0123456789")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "golden-secret-golden-secret")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    fleet = Fleet({ADDRESS: BEDROCK}, answered_after_s=0.0)
    found = run(tmp_path, fleet, {"provider": "bedrock", "name": "amazon.nova-lite-v1:0"}, loop=asyncio.run)
    assert (found.scored, found.cost_usd) == (40, pytest.approx(40 * 14 / 1e6))
    assert {call.url for call in fleet.calls} == {f"{ADDRESS}/model/amazon.nova-lite-v1%3A0/converse"}
    assert all("/eu-west-1/bedrock/aws4_request" in call.headers["Authorization"] for call in fleet.calls)


def test_run_over_bedrock_with_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_KEY", "bedrock-api-key-0123456789")
    fleet = Fleet({ADDRESS: BEDROCK})
    model = {"provider": "bedrock", "api_key_env": "BEDROCK_KEY", "base_url": ADDRESS}
    assert run(tmp_path, fleet, model).scored == 40
    assert {call.headers["Authorization"] for call in fleet.calls} == {"Bearer bedrock-api-key-0123456789"}


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"base_urls": ["http://a/v1"], "base_url": "http://b/v1"}, "base_urls is given beside base_url"),
        ({"base_urls": ["http://a/v1?key=1"]}, r"model\.base_urls\[0\] must be a plain http"),
        ({"api": "responses", "provider": "anthropic"}, 'belongs to provider = "openai"'),
        ({"provider": "bedrock", "temperature": 1.5, "reasoning": "low"}, "Bedrock takes 0 to 1"),
        ({"api_key_env": "KEY", "api_key_command": ["key"]}, "api_key_command and api_key_env are both given"),
    ],
)
def test_keys_that_do_not_go_together_are_named(tmp_path: Path, model: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=why):
        run(tmp_path, Fleet({}), model)
