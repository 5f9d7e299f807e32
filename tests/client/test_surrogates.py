"""Promise: a reply with a lone surrogate, which JSON can escape and UTF-8 cannot encode, is read and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.inprocess import Run
from support.transport import FakeTransport

from scorer.client.providers.complaints import parse
from scorer.errors import Rejected, whole
from scorer.types import Call, Reply

HALF = "\\ud83d"  # as the six characters of an escape
VERDICT = '{\\"reason\\": \\"good \\\\ud83d!\\", \\"score\\": 7}'


class Judge(FakeTransport):
    """A transport whose every reply has half a pair in the places given: in its text, id and model, or in its error."""

    def __init__(self, content: str, status: int = 200) -> None:
        super().__init__()
        self._content = content
        self._status = status

    async def reply(self, call: Call, number: int) -> Reply:
        if self._status != 200:
            return Reply(self._status, {}, b'{"error": {"message": "no %b please"}}' % HALF.encode())
        body = (
            f'{{"id": "id-{number}-{HALF}", "model": "m{HALF}", "choices": [{{"message": {{"content": '
            f'"{self._content}"}}, "finish_reason": "stop"}}], '
            '"usage": {"prompt_tokens": 9, "completion_tokens": 9}}'
        )
        return Reply(200, {}, body.encode())


@pytest.mark.parametrize("keep_raw", [True, "full"])
@pytest.mark.parametrize(
    ("content", "judge"),
    [
        (f"Score: 7 {HALF}", {}),
        (VERDICT, {"read": "json", "reason": "before"}),
        (VERDICT.replace("ud83d", "ud83d\\\\ude00"), {"read": "json", "reason": "before"}),
    ],
    ids=["in its text", "in a verdict of JSON", "a whole pair"],
)
def test_run_reads_reply_with_lone_surrogate_once_and_stores_text(
    content: str, judge: dict[str, Any], keep_raw: bool | str, tmp_path: Path
) -> None:
    run = Run(tmp_path, 4, keep_raw=keep_raw)
    run.wire = wire = Judge(content)  # type: ignore[assignment]
    status = run.run(**judge)
    assert (status.scored, status.failed, len(wire.sent_at)) == (4, 0, 4)
    found = pq.read_table(run.sealed())
    found.validate(full=True)
    rows = found.to_pylist()
    assert [row["score"] for row in rows] == [7.0] * 4
    assert {row["judge_model"] for row in rows} == {"m\ufffd"}
    if judge:
        said = "good \U0001f600!" if "ude00" in content else "good \ufffd!"
        assert {row["reason"] for row in rows} == {said}
    assert run.verify().findings == ()


def test_run_keeps_error_detail_with_lone_surrogate(tmp_path: Path) -> None:
    run = Run(tmp_path, 4)
    run.wire = Judge("", status=418)  # type: ignore[assignment]
    status = run.run()
    assert status.errors == {"Rejected": 4}
    assert {row["error_detail"] for row in pq.read_table(run.sealed()).to_pylist()} == {"no \ufffd please"}
    assert Rejected("\ud83d").detail == "\ufffd"


@given(st.text(alphabet=st.characters()))
def test_whole_changes_only_lone_surrogates(text: str) -> None:
    found = whole(text)
    found.encode()
    if not any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        assert found == text


@given(st.binary())
def test_parse_raises_on_no_bytes(body: bytes) -> None:
    parse(body)
