"""Promise: a path goes to its storage; errors are one paragraph without secrets."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import obstore
import polars as pl
import pytest
from obstore.exceptions import NotSupportedError
from obstore.store import AzureStore
from support.http_server import HttpHandler, HttpServer
from support.proxy import BadDay
from support.seaweed import Weed

from scorer.analysis.open_table import open_table
from scorer.errors import ScorerError, SpecError, StorageError
from scorer.files.credentials import open_store, table_options
from scorer.files.files import replace
from scorer.files.object_reader import TAIL_BYTES, head_and_tail
from scorer.files.router import AnyFiles

AWS = [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]


@pytest.fixture(autouse=True)
def _no_clouds_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AWS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def said(act: Callable[[], object], kind: type[ScorerError] = StorageError) -> str:
    with pytest.raises(kind) as caught:
        act()
    text = str(caught.value)
    assert "owner-secret" not in text
    assert "wrong-secret" not in text
    assert "\n" not in text
    return text


def test_router_sends_local_paths_to_the_local_disk(tmp_path: Path) -> None:
    places = AnyFiles()
    replace(places, f"{tmp_path}/a.parquet", b"x")
    assert (tmp_path / "a.parquet").read_bytes() == b"x"
    assert table_options(f"{tmp_path}/a.parquet") is None


@pytest.mark.parametrize("path", ["ftp://b/x", "s3:///x", "http://b/x"])
def test_router_refuses_other_schemes(path: str) -> None:
    text = said(lambda: AnyFiles().find([path]), SpecError)
    assert "Give s3://, gs://, az:// with a bucket" in text


@pytest.mark.slow
def test_router_without_credentials_says_what_to_set() -> None:
    """Slow: boto3 is imported, to look everywhere."""
    text = said(lambda: AnyFiles().find(["s3://b/x"]))
    assert "s3://b: no credentials were found. Set AWS_ACCESS_KEY_ID" in text


@pytest.mark.slow
def test_router_names_a_missing_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: boto3 is imported, to look for it."""
    monkeypatch.setenv("AWS_PROFILE", "night")
    assert "night) could not be found. Look at AWS_PROFILE" in said(lambda: AnyFiles().find(["s3://b/x"]))


@pytest.mark.slow
class TestAgainstAServer:
    """Slow: a real server says what it does not allow."""

    @pytest.fixture(autouse=True)
    def _there(self, root: str) -> None:
        """The environment leads to the server."""

    def test_router_takes_keys_and_region_from_a_profile(
        self, root: str, weed: Weed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.delenv(name)
        (tmp_path / "keys").write_text("[night]\naws_access_key_id = owner\naws_secret_access_key = owner-secret\n")
        (tmp_path / "config").write_text("[profile night]\nregion = eu-central-1\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "night")
        with AnyFiles().create(f"{root}/x.parquet") as file:
            pl.DataFrame({"n": [1, 2]}).write_parquet(file)
        assert [stat.path for stat in AnyFiles().find([f"{root}/*.parquet"])] == [f"{root}/x.parquet"]
        assert open_table(f"{root}/*.parquet").collect()["n"].to_list() == [1, 2]
        assert table_options(root) == {
            "aws_endpoint_url": weed.url, "aws_allow_http": "true", "aws_region": "eu-central-1",
        }  # fmt: skip

    def test_router_reads_a_public_bucket_without_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with AnyFiles().create("s3://public/x.parquet") as file:
            pl.DataFrame({"n": [1, 2]}).write_parquet(file)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        assert open_table("s3://public/*.parquet").collect()["n"].to_list() == [1, 2]
        assert "permission denied" in said(lambda: replace(AnyFiles(), "s3://public/y.json", b"x"))

    def test_router_reports_an_unknown_access_key(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        text = said(lambda: replace(AnyFiles(), f"{root}/x.json", b"x"))
        assert f"Cannot write {root}/x.json: the store does not know this access key" in text

    def test_router_reports_a_wrong_secret_key(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        assert "the secret key does not belong to the access key" in said(lambda: AnyFiles().listing(root))
        assert "the secret key does not belong to the access key" in said(lambda: AnyFiles().open(f"{root}/x.json"))

    def test_router_reports_missing_write_permission(
        self, root: str, weed: Weed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace(AnyFiles(), f"{root}/x.json", b"x")
        for name, value in weed.variables("reader").items():
            monkeypatch.setenv(name, value)
        places = AnyFiles()
        with places.open(f"{root}/x.json") as file:
            assert file.read() == b"x"
        text = said(lambda: replace(places, f"{root}/y.json", b"x"))
        assert f"Cannot write {root}/y.json: permission denied (AccessDenied)" in text
        assert "permission denied" in said(lambda: places.lock(f"{root}/lock", "me"))

    def test_router_reports_a_missing_bucket(self, weed: Weed) -> None:
        text = said(lambda: AnyFiles().find(["s3://lakes/in/*.parquet"]))
        assert "s3://lakes/in" in text
        assert "there is no such bucket: look at its name and at AWS_ENDPOINT_URL" in text

    def test_router_reports_an_unreachable_endpoint(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        text = said(lambda: replace(AnyFiles(patience_s=0.3), f"{root}/x.json", b"x"))
        assert "the store could not be reached" in text
        assert "within 0.3 s" in text

    def test_router_raises_storage_error_in_an_outage(
        self, root: str, weed: Weed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replace(AnyFiles(), f"{root}/x.parquet", b"x")
        with BadDay(weed.port, errors={500: 1.0}) as day:
            monkeypatch.setenv("AWS_ENDPOINT_URL", day.url)
            places = AnyFiles(patience_s=0.3)
            assert "the store answered 500" in said(lambda: places.open(f"{root}/x.parquet"))
            assert "the store answered 500" in said(lambda: places.listing(root))
            assert "the store answered 500" in said(lambda: places.find([root]))

    def test_router_reports_another_region(self, root: str, weed: Weed, monkeypatch: pytest.MonkeyPatch) -> None:
        with BadDay(weed.port, errors={301: 1.0}) as day:
            monkeypatch.setenv("AWS_ENDPOINT_URL", day.url)
            text = said(lambda: replace(AnyFiles(), f"{root}/x.json", b"x"))
        assert "the bucket is in another region" in text
        assert "AWS_REGION" in text


# --- the other clouds: their stores are built, and no more is shown ---------------------------------------------------


def test_router_builds_google_and_azure_stores_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    account = base64.b64encode(b"key").decode()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "nights")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", account)
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(
        {"type": "service_account", "private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": True}
    ))  # fmt: skip
    assert "nights" in repr(open_store("az://box"))
    assert "GCSStore" in repr(open_store("gs://box"))


def test_router_asks_for_the_azure_account() -> None:
    text = said(lambda: AnyFiles().find(["az://box/x"]), SpecError)
    assert "az://box cannot be opened: set AZURE_STORAGE_ACCOUNT_NAME" in text


class _Azure(HttpHandler):
    """One container as Azure serves it: a size, an etag, ranges from the start."""

    blobs: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        data = self.blobs[self.path.rpartition("/")[2]]
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", self.headers.get("x-ms-range", "")))
        first, last = (int(asked[1]), int(asked[2])) if asked else (0, len(data) - 1)
        headers = {"Last-Modified": "Tue, 24 Nov 2026 00:00:00 GMT", "ETag": '"1"'}
        if asked:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.reply(206 if asked else 200, data[first : last + 1], headers)


def test_router_reads_a_store_without_suffix_ranges() -> None:
    """As Azure is; obstore refuses such a range before it asks."""
    _Azure.blobs = {"large": bytes(range(256)) * 2_000, "small": b"123", "empty": b""}
    with HttpServer(_Azure) as server:
        store = AzureStore(
            "box",
            account_name="nights",
            account_key=base64.b64encode(b"key").decode(),
            endpoint=server.url,
            client_options={"allow_http": True},
        )
        with pytest.raises(NotSupportedError):
            obstore.get(store, "large", options={"range": {"suffix": 3}})
        for name, data in _Azure.blobs.items():
            meta, tail = head_and_tail(store, name)
            assert meta["size"] == len(data)
            assert tail == data[-TAIL_BYTES:]
