"""scorer.testing: a broken plug-in fails the test of the promise that it breaks; a correct one passes."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import BadRow, Refused, RowError, ServerFault, SetupError, Throttled, Unreadable
from scorer.metrics.protocol import Metric
from scorer.publish.sealed import Publisher, Sealed, Version
from scorer.testing import JudgeContract, MetricContract, ProviderContract, PublisherContract
from scorer.testing.pure import no_io, other_moment
from scorer.types import Call, Completion, Conversation, Judge, Message, Provider, RateHint, Reply, Request, Row, Score
from scorer.usage import Usage


def test_no_io_detects_a_file_that_is_read() -> None:
    with pytest.raises(AssertionError, match="it does I/O: open"), no_io():
        Path(__file__).read_text()


def test_no_io_ends_with_its_block() -> None:
    with no_io():
        sum(range(3))
    assert Path(__file__).read_text()


def test_another_moment_changes_clock_and_randomness_and_restores_both() -> None:
    random.seed(1)
    expected = random.Random(1).random()
    before = time.time()
    with other_moment(7):
        assert time.time() - before > 6 * 86_400
        assert random.random() != expected
    assert random.random() == expected
    assert time.time() - before < 86_400


# --- broken plug-ins --------------------------------------------------------------------------------------------------


class GoodJudge:
    columns, fields, constant = ("response",), (), "Rate: "

    def __call__(self, row: Row) -> Conversation:
        if row.values["response"] is None:
            raise BadRow("response is null.")
        (answer,) = yield [self.request(row)]
        if isinstance(answer, RowError):
            raise answer
        if not answer.text.isdigit():
            raise Unreadable("No number.")
        return Score(float(answer.text))

    def request(self, row: Row) -> Request:
        return Request(messages=(Message("user", f"Rate: {row.values['response']}"),))


class Invents(GoodJudge):
    def __call__(self, row: Row) -> Conversation:
        try:
            return (yield from super().__call__(row))
        except Unreadable:
            return Score(1.0)


class Hides(GoodJudge):
    def __call__(self, row: Row) -> Conversation:
        try:
            return (yield from super().__call__(row))
        except Refused:
            raise Unreadable("Something.") from None


class Raises(GoodJudge):
    def __call__(self, row: Row) -> Conversation:
        (answer,) = yield [self.request(row)]
        return Score(float(answer.text))  # type: ignore[union-attr]


class AsksByChance(GoodJudge):
    def request(self, row: Row) -> Request:
        return replace(super().request(row), seed=random.randrange(10**9))


class AsksByTheClock(GoodJudge):
    def request(self, row: Row) -> Request:
        return replace(super().request(row), seed=int(time.time()) // 86_400)


class Reads(GoodJudge):
    def request(self, row: Row) -> Request:
        Path(__file__).read_text()
        return super().request(row)


class SharesRows(GoodJudge):
    row: Row

    def __call__(self, row: Row) -> Conversation:
        self.row = row
        (answer,) = yield [self.request(row)]
        assert isinstance(answer, Completion)
        return Score(float(answer.text) + len(self.row.values["response"]))


class Undeclared(GoodJudge):
    def __call__(self, row: Row) -> Conversation:
        score = yield from super().__call__(row)
        return replace(score, fields={"secret": 1})


class NotANumber(GoodJudge):
    def __call__(self, row: Row) -> Conversation:
        score = yield from super().__call__(row)
        return replace(score, value=math.nan)


class CountsWrong(GoodJudge):
    def request(self, row: Row) -> Request:
        return replace(super().request(row), index=1)


class Judges(JudgeContract):
    rows = ({"response": "a"}, {"response": "bcd"})

    def __init__(self, made: type[GoodJudge]) -> None:
        self._made = made

    def make(self) -> Judge:
        return self._made()

    def answer(self, request: Request) -> Completion:
        return Completion(str(len(request.messages[0].content)))


UNREAD = {"text": "I would rather not say.", "finish_reason": "stop"}
BROKEN_JUDGES: dict[type[GoodJudge], tuple[str, dict[str, Any]]] = {
    Invents: ("test_judge_raises_row_error_for_a_reply_without_verdict", UNREAD),
    Hides: ("test_judge_fails_the_row_where_every_request_failed", {"kind": Refused}),
    Raises: ("test_judge_raises_bad_row_for_a_null_column_before_any_request", {}),
    AsksByChance: ("test_judge_asks_and_scores_the_same_row_the_same_way", {}),
    AsksByTheClock: ("test_judge_asks_and_scores_the_same_row_the_same_way", {}),
    Reads: ("test_judge_does_no_io", {}),
    SharesRows: ("test_judge_keeps_concurrent_rows_apart", {}),
    Undeclared: ("test_judge_gives_a_finite_score_and_only_declared_columns", {}),
    NotANumber: ("test_judge_gives_a_finite_score_and_only_declared_columns", {}),
    CountsWrong: ("test_judge_requests_are_complete_and_numbered_from_0_for_each_model", {}),
}


@pytest.mark.parametrize("broken", BROKEN_JUDGES, ids=lambda kind: kind.__name__)
def test_judge_contract_fails_broken_judges_and_passes_a_good_one(broken: type[GoodJudge]) -> None:
    name, arguments = BROKEN_JUDGES[broken]
    getattr(Judges(GoodJudge), name)(GoodJudge(), **arguments)
    with pytest.raises(AssertionError):
        getattr(Judges(broken), name)(broken(), **arguments)


class Metrics(MetricContract):
    def __init__(self, score: Callable[[str | None, str | None], float | None]) -> None:
        self._score = score

    def make(self) -> Metric:
        return Scored(self._score)


class Scored:
    needs_reference = True

    def __init__(self, score: Callable[[str | None, str | None], float | None]) -> None:
        self._score = score

    def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
        return [self._score(*pair) for pair in zip(responses, references, strict=True)]


counter = itertools.count()


@pytest.mark.parametrize(
    ("test", "score"),
    [
        ("test_metric_gives_a_finite_number_or_none_for_each_row", lambda one, other: math.nan),
        ("test_metric_scores_some_row", lambda one, other: None),
        ("test_metric_of_a_null_response_is_none_and_changes_no_other_row", lambda one, other: 0.0),
        ("test_metric_of_a_null_reference_is_none_only_where_needed", lambda one, other: 0.0),
        ("test_metric_is_the_same_in_any_batch_and_order", lambda one, other: float(next(counter))),
        ("test_metric_is_the_same_for_another_instance", lambda one, other: random.random()),
    ],
)
def test_metric_contract_fails_broken_metrics(
    test: str, score: Callable[[str | None, str | None], float | None]
) -> None:
    contract = Metrics(score)
    with pytest.raises(AssertionError):
        getattr(contract, test)(contract.make())


class Providers(ProviderContract):
    body = b'{"text": "Score: 4", "tokens": [5, 2]}'
    text = "Score: 4"
    usage = Usage(5, 2)

    def __init__(self, broken: str) -> None:
        self._broken = broken

    def make(self, **options: Any) -> Provider:
        return Plain(self._broken, **options)


class Plain:
    """A provider of a dialect of its own; `broken` says in which way it is wrong."""

    def __init__(self, broken: str, **options: Any) -> None:
        self._broken, self._options = broken, options

    def __repr__(self) -> str:
        return f"Plain({self._options})" if self._broken == "repr" else "Plain()"

    def converse(self, request: Request) -> Iterator[Any]:
        sent = {key: value for key, value in self._options.items() if key not in ("headers", "base_url")}
        sent["messages"] = [message.content for message in request.messages]
        if self._broken == "chance":
            sent["id"] = random.random()
        body = json.dumps(sent, ensure_ascii=False).encode()
        url = "http://other.test/v1" if self._broken == "address" else "http://judge.test/v1"
        reply: Reply = yield Call(url, body, self._options["headers"])
        if self._broken == "status":
            raise ServerFault("It failed.")
        if reply.status != 200:
            kinds = {429: Throttled, 401: SetupError, 403: SetupError, 404: SetupError}
            raise kinds.get(reply.status, ServerFault)("It failed.")
        try:
            value = json.loads(reply.body)
            text, tokens = value["text"], value["tokens"]
        except (ValueError, KeyError, TypeError, RecursionError):
            if self._broken == "raises":
                raise
            if self._broken != "invents":
                raise ServerFault("No completion.") from None
            text, tokens = "", [0, 0]
        return Completion(text, usage=Usage(*tokens), body=reply.body)  # type: ignore[return-value]

    def rate(self, headers: Mapping[str, str]) -> RateHint:
        if self._broken == "headers" and "retry-after" in headers:
            return RateHint(retry_after_s=float(headers["retry-after"]))
        return RateHint()


BROKEN_PROVIDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "repr": ("test_provider_repr_hides_the_key", {}),
    "chance": ("test_provider_makes_the_same_call_of_the_same_request", {}),
    "address": ("test_provider_posts_below_base_url_with_its_headers", {}),
    "status": ("test_provider_tells_set_up_row_and_transient_errors_by_status", {}),
    "raises": ("test_provider_raises_typed_error_for_200_without_completion", {"body": b"<html>"}),
    "invents": ("test_provider_raises_transient_error_for_a_cut_reply", {}),
    "headers": ("test_provider_rate_raises_for_no_header", {"value": "nan"}),
}


@pytest.mark.parametrize("broken", BROKEN_PROVIDERS)
def test_provider_contract_fails_broken_providers_and_passes_a_good_one(broken: str) -> None:
    name, arguments = BROKEN_PROVIDERS[broken]
    getattr(Providers(""), name)(**arguments)
    with pytest.raises((AssertionError, ValueError)):
        getattr(Providers(broken), name)(**arguments)


class Publishers(PublisherContract):
    def __init__(self, broken: str) -> None:
        self._broken = broken

    def place(self, folder: Path) -> str:
        return f"{folder}/table.json"

    def make(self, place: str, partition_by: Sequence[str] = ()) -> Publisher:
        return Listed(self._broken, Path(place))

    def rows(self, place: str) -> list[dict[str, Any]]:
        path = Path(place)
        return json.loads(path.read_text())["rows"] if path.exists() else []


class Listed:
    """A publisher to one JSON file; `broken` says in which way it is wrong."""

    def __init__(self, broken: str, path: Path) -> None:
        self._broken, self._path = broken, path

    def publish(self, shard: Sealed) -> bool:
        table = json.loads(self._path.read_text()) if self._path.exists() else {"rows": [], "versions": {}}
        key = f"{shard.run}/{shard.shard}"
        before = table["versions"].get(key)
        known = before is not None and not shard.version.is_newer_than(Version(*before))
        if known and self._broken not in ("repeats", "goes back"):
            return False
        if known and self._broken == "goes back" and before == [shard.version.generation, shard.version.finished_us]:
            return False
        if self._broken == "replaces all":
            table["rows"] = []
        elif self._broken not in ("keeps old", "repeats"):
            table["rows"] = [r for r in table["rows"] if (r["scorer_run"], r["shard"]) != (shard.run, shard.shard)]
        for batch in shard.batches():
            names = ["scorer_run", "shard", "row", "score"]
            table["rows"] += batch.select(names).to_pylist()
            if self._broken == "in parts":
                self._path.write_text(json.dumps(table))
        table["versions"][key] = [shard.version.generation, shard.version.finished_us]
        self._path.write_text(json.dumps(table))
        return True


NEWER = {"version": Version(1, 1_790_000_000_000_000)}
BROKEN_PUBLISHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "repeats": ("test_publish_writes_every_row_once_and_a_repeat_changes_nothing", {}),
    "replaces all": ("test_publish_keeps_runs_and_shards_apart_in_one_table", {}),
    "keeps old": ("test_publish_of_a_newer_version_replaces_only_rows_of_its_shard", NEWER),
    "goes back": ("test_publish_ignores_an_older_version", {}),
    "in parts": ("test_publish_killed_in_the_middle_leaves_no_row_and_can_be_repeated", {}),
}


@pytest.mark.parametrize("broken", BROKEN_PUBLISHERS)
def test_publisher_contract_fails_broken_publishers_and_passes_a_good_one(tmp_path: Path, broken: str) -> None:
    name, arguments = BROKEN_PUBLISHERS[broken]
    for how in ("", broken):
        contract, folder = Publishers(how), tmp_path / f"of {how}"
        folder.mkdir()
        test = partial(getattr(contract, name), table=contract.place(folder), tmp_path=folder, **arguments)
        if how:
            with pytest.raises(AssertionError):
                test()
        else:
            test()
