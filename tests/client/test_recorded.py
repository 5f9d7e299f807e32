"""Stored replies are found by key and index; a missing reply is reported, never invented."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.api.runs import run
from scorer.client.recorded import Recorded
from scorer.errors import NoReply, Refused, SetupError, SpecError
from scorer.files.local_files import LocalFiles
from scorer.job.reread import reread
from scorer.output.scan import scan_scores
from scorer.types import (
    Completion,
    Request,
)
from scorer.usage import (
    Spent,
)

TABLE = {
    "id": ["a", "a", "b", "c", "d"],
    "sample": [1, 2, 1, 1, 1],
    "judge": ["x", "y", "x", "x", "x"],
    "replies": [["4", "5"], ["1"], ["3", None], [], None],
    "reply": ["four", "one", "three", "", None],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "replies.parquet"
    pq.write_table(pa.table(TABLE), file)
    return file


async def ask(client: Recorded, index: int = 0, **key: Any) -> Completion:
    return await client.complete(Request(key=key, index=index))


async def test_recorded_gives_nth_reply_to_nth_request(path: Path) -> None:
    client = Recorded(path=path, keys=("id", "sample"), replies="replies")
    assert [(await ask(client, index, id="a", sample=1)).text for index in (0, 1)] == ["4", "5"]
    completion = await ask(client, id="a", sample=2)
    assert completion == Completion(text="1", model="recorded", spent=Spent(attempts=1, cost_pico=0))


@pytest.mark.parametrize(
    ("index", "key", "says"),
    [
        (2, {"id": "a", "sample": 1}, "has no reply 3 for id = 'a', sample = 1; it holds 2"),
        (1, {"id": "b", "sample": 1}, "has no reply 2"),
        (0, {"id": "c", "sample": 1}, "has no reply 1"),
        (0, {"id": "d", "sample": 1}, "has no reply 1"),
        (0, {"id": "e", "sample": 1}, "has no row with id = 'e', sample = 1"),
        (0, {"id": "a", "sample": "1"}, "has no row with id = 'a', sample = '1'"),
        (0, {"id": None, "sample": 1}, "has no row"),
        (0, {"id": ["a"], "sample": 1}, "has no row"),
    ],
)
async def test_recorded_reports_missing_reply(path: Path, index: int, key: Mapping[str, Any], says: str) -> None:
    client = Recorded(path=path, keys=("id", "sample"), replies="replies")
    with pytest.raises(NoReply) as caught:
        await ask(client, index, **key)
    assert says in caught.value.detail
    assert caught.value.spent is None


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
async def test_recorded_reads_any_string_type_as_one_reply(tmp_path: Path, kind: pa.DataType) -> None:
    file = tmp_path / "t.parquet"
    texts = pa.array(["x", "y"]).cast(kind)
    pq.write_table(pa.table({"id": texts, "reply": texts}), file)
    client = Recorded(path=file, keys=("id",), replies="reply", where={"id": "y"})
    assert (await ask(client, id="y")).text == "y"
    for absent in ({"id": "x"}, {"id": "y", "index": 1}):
        with pytest.raises(NoReply):
            await ask(client, **absent)


async def test_recorded_reads_empty_reply(path: Path) -> None:
    client = Recorded(path=path, keys=("id",), replies="reply", where={"judge": "x"})
    assert (await ask(client, id="c")).text == ""


async def test_recorded_filters_by_where_and_reads_folder_as_one_table(path: Path) -> None:
    other = pa.table({name: values[:1] for name, values in TABLE.items()} | {"id": ["z"]})
    pq.write_table(other, path.with_name("more.parquet"))
    client = Recorded(path=path.parent, keys=("id",), replies="reply", where={"judge": "x", "sample": 1})
    assert [(await ask(client, id=key)).text for key in "abz"] == ["four", "three", "four"]
    assert repr(client) == f"<Recorded {path.parent}, 5 keys>"


async def test_recorded_key_not_in_request_is_setup_error(path: Path) -> None:
    client = Recorded(path=path, keys=("id", "sample"), replies="replies")
    with pytest.raises(SetupError, match=r"model\.keys names \['sample'\]"):
        await ask(client, id="a")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"keys": ("id",)}, "model.keys: 1 keys occur more than once"),
        ({"keys": ("id",)}, "id = 'a'. Add a key column"),
        ({"keys": ()}, "model.keys: empty"),
        ({"keys": ("id", "no")}, "model.keys: .* has no column 'no'; it has id, sample"),
        ({"keys": ("id", "replies")}, "model.keys: column 'replies' is a list"),
        ({"replies": "no"}, "model.replies: .* has no column 'no'"),
        ({"replies": "sample"}, "model.replies: column 'sample' is a int64; allowed are string"),
        ({"where": {"no": 1}}, "model.where: .* has no column 'no'"),
        ({"where": {"sample": "1"}}, "model.where.sample: '1' cannot equal"),
        ({"where": {"id": 1}}, "model.where.id: 1 cannot equal"),
        ({"where": {"replies": "x"}}, "model.where.replies: 'x' cannot equal"),
        ({"where": {"sample": 1.5}}, "model.where.sample: 1.5 cannot equal"),
        ({"where": {"id": "zz"}}, "leaves no row"),
        ({"path": "no/such.parquet"}, "model.path: 'no/such.parquet' cannot be read"),
    ],
)
def test_recorded_invalid_settings_are_spec_errors(path: Path, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Recorded(**{"path": path, "keys": ("id", "sample"), "replies": "replies"} | changed)


def test_recorded_file_that_is_not_parquet_is_spec_error(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    file.write_bytes(b"id,reply\n")
    with pytest.raises(SpecError, match=r"model\.path"):
        Recorded(path=file, keys=("id",), replies="reply")


DATA = Path(__file__).resolve().parents[2] / "../shared/data/topical_chat_judge_outputs.parquet"


async def test_recorded_reads_published_judge_data() -> None:
    if not DATA.exists():
        pytest.skip("left out: 20 stored replies an item of Topical-Chat; ../shared/data is not here")
    where = {"dimension": "coherence", "prompt_kind": "geval"}
    client = Recorded(path=DATA, keys=("id",), replies="judge_raw_outputs", where=where)
    assert repr(client).endswith(" 359 keys>")
    assert all([(await ask(client, index, id="tc-000")).text for index in range(20)])
    with pytest.raises(NoReply):
        await ask(client, 20, id="tc-000")


# --- whole replies ----------------------------------------------------------------------------------------------------


def whole(text: str = "4", **choice: Any) -> str:
    """A reply as a server of OpenAI's dialect sends it, the probabilities of 3 and 4 even."""
    top = [{"token": label, "logprob": math.log(0.5)} for label in ("4", "3")]
    logprobs = {"content": [{"token": "4", "logprob": math.log(0.5), "top_logprobs": top}]}
    message = {"role": "assistant", "content": text}
    body = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs, **choice}
    return orjson.dumps({"object": "chat.completion", "model": "judge-7b", "choices": [body]}).decode()


async def test_recorded_reads_full_reply_with_logprobs(tmp_path: Path) -> None:
    refused = whole(message={"role": "assistant", "content": None, "refusal": "I will not."})
    texts = [whole(), '{"score": 4}', '{"choices": "none"}', '{"choices": [{}]', "{", refused, whole(logprobs=None)]
    pq.write_table(pa.table({"id": range(len(texts)), "reply": texts}), tmp_path / "t.parquet")
    client = Recorded(path=tmp_path / "t.parquet", keys=("id",), replies="reply")
    found = await ask(client, id=0)
    assert (found.text, found.model, found.finish_reason, found.body) == ("4", "judge-7b", "stop", texts[0].encode())
    assert found.logprobs is not None
    assert [label for label, _ in found.logprobs[0].top] == ["4", "3"]
    assert found.spent == Spent(attempts=1, cost_pico=0)
    for number in (1, 2, 3, 4):
        assert (await ask(client, id=number)).text == texts[number]
    with pytest.raises(Refused, match="I will not"):
        await ask(client, id=5)
    assert (await ask(client, id=6)).logprobs is None


async def test_recorded_reads_full_reply_with_lone_surrogate_like_server_reply(tmp_path: Path) -> None:
    """Were it taken for a text, the log-probabilities would be gone and numbers of its JSON read."""
    reply = whole("Score: 4").replace("Score", "\\ud83d Score")
    pq.write_table(pa.table({"id": [0], "reply": [reply]}), tmp_path / "t.parquet")
    found = await ask(Recorded(path=tmp_path / "t.parquet", keys=("id",), replies="reply"), id=0)
    assert (found.text, found.model) == ("\ufffd Score: 4", "judge-7b")
    assert found.logprobs is not None


def run_over(tmp_path: Path, replies: list[str], **judge: Any) -> dict[str, Any]:
    """A run whose judge answers from these replies."""
    pq.write_table(pa.table({"id": range(len(replies)), "text": ["t"] * len(replies)}), tmp_path / "in.parquet")
    pq.write_table(pa.table({"id": range(len(replies)), "reply": replies}), tmp_path / "replies.parquet")
    return {
        "input": {"shards": [f"{tmp_path}/in.parquet"]},
        "judge": {"prompt": "{text} Score from 1 to 5?", "attempts": 1, **judge},
        "model": {
            "provider": "recorded", "path": f"{tmp_path}/replies.parquet", "keys": ["id"], "replies": "reply",
        },
        "limits": {"max_failed_share": 1.0},
        "output": {"path": f"{tmp_path}/out", "keep_raw": "full"},
    }  # fmt: skip


def test_recorded_gives_expected_scores_from_stored_logprobs_also_on_reread(tmp_path: Path) -> None:
    tree = run_over(tmp_path, [whole(), whole()], read="expected")
    assert run(tree).scored == 2
    scores = scan_scores(f"{tmp_path}/out").collect()
    assert scores["score"].to_list() == pytest.approx([3.5, 3.5])
    assert scores["judge_model"].to_list() == ["judge-7b"] * 2
    assert reread(LocalFiles(), f"{tmp_path}/out", ["judge.read=number"]).scored == 2
    assert scan_scores(f"{tmp_path}/out").collect()["score"].to_list() == [4.0, 4.0]


def test_recorded_expected_scores_over_plain_texts_are_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"of stored replies, give whole ones, as output.keep_raw = \"full\" stores"):
        run(run_over(tmp_path, ["4"], read="expected"))


@pytest.mark.parametrize("texts", [["no idea"] * 250, ["no idea"] * 249 + ["4"]])
def test_recorded_run_continues_after_200_unreadable_rows(texts: list[str], tmp_path: Path) -> None:
    done = run(run_over(tmp_path, texts))
    assert (done.pending, done.errors["Unreadable"]) == (0, texts.count("no idea"))
