"""Promise: a dataset of the Hub is read as local files are, and what goes wrong there is a sentence or a pause."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.formats import WRITERS
from support.hub import Hub, serving
from support.inprocess import Run, own_score

from scorer.errors import InputError, SpecError, StorageError
from scorer.files import hub as module
from scorer.files.router import AnyFiles
from scorer.output.scan import scan_scores

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for name in ("HF_TOKEN", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        server.files = {
            "README.md": b"# A dataset",
            "data/a.parquet": b"aa",
            "data/deep/b.parquet": b"bbb",
            "logs/c.jsonl": b"{}\n" * 9,
            "logs/model=x/d.jsonl.gz": b"dddd",
        }
        yield server


def found(*patterns: str) -> dict[str, int]:
    return {stat.path.removeprefix("hf://datasets/org/name/"): stat.size for stat in AnyFiles().find(patterns)}


def test_files_folders_globs_and_the_whole_dataset_are_found(hub: Hub) -> None:
    root = "hf://datasets/org/name"
    assert found(f"{root}/data/a.parquet") == {"data/a.parquet": 2}
    assert found(root) == {"data/a.parquet": 2, "data/deep/b.parquet": 3}
    assert found(f"{root}/logs") == {"logs/c.jsonl": 27, "logs/model=x/d.jsonl.gz": 4}
    assert found(f"{root}/data/*.parquet") == {"data/a.parquet": 2}
    assert found(f"{root}/**/*.parquet") == {"data/a.parquet": 2, "data/deep/b.parquet": 3}
    assert found(f"{root}/none.parquet", f"{root}/none/*.parquet") == {}


def test_a_revision_may_hold_slashes_as_that_of_converted_files_does(hub: Hub) -> None:
    for revision in ("refs/convert/parquet", "~parquet", "refs/pr/7"):
        (found,) = AnyFiles().find([f"hf://datasets/org/name@{revision}/data/a*.parquet"])
        assert found.path == f"hf://datasets/org/name@{revision}/data/a.parquet"
        with AnyFiles().open(found.path) as file:
            assert file.read(4) == hub.files["data/a.parquet"][:4]


def test_the_version_changes_with_the_bytes_and_a_revision_stays_in_the_path(hub: Hub) -> None:
    (before,) = AnyFiles().find(["hf://datasets/org/name@v1/data/a.parquet"])
    assert before.path == "hf://datasets/org/name@v1/data/a.parquet"
    hub.files["data/a.parquet"] = b"AA"
    (after,) = AnyFiles().find(["hf://datasets/org/name@v1/data/a.parquet"])
    assert before.version != after.version


def test_a_file_is_read_by_ranges(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    hub.files["data/a.parquet"] = data = bytes(range(256)) * 10
    with AnyFiles().open("hf://datasets/org/name/data/a.parquet") as file:
        assert file.seek(-4, 2) == len(data) - 4
        assert file.read() == data[-4:]
        file.seek(1000)
        assert [file.read(7), file.read(300)] == [data[1000:1007], data[1007:1307]]
        assert file.tell() == 1307


@pytest.mark.parametrize("end", ["parquet", "jsonl.gz"])
def test_a_run_over_the_hub_resumes_verifies_and_joins(hub: Hub, tmp_path: Path, end: str) -> None:
    records = [{"id": f"r{n}", "response": "said", "n": n} for n in range(40)]
    hub.files = {f"model=x/part.{end}": WRITERS[end](records)}
    run = Run(tmp_path, keep=("model",))
    run.patterns = ["hf://datasets/org/name"]
    files = AnyFiles()
    run.stop_after(15, files)  # type: ignore[arg-type]
    run.run(files)  # type: ignore[arg-type]
    assert run.wire.asked == dict.fromkeys(range(40), 1)
    scores = scan_scores(run.out, join_input=True).sort("n").collect()
    assert scores["score"].to_list() == [own_score(n) for n in range(40)]
    assert scores["model"].unique().to_list() == ["x"]
    assert scores["response"].unique().to_list() == ["said"]


def test_a_dataset_that_may_not_be_read_is_told(hub: Hub) -> None:
    hub.private = True
    for path in ("", "/data/a.parquet", "/data/*.parquet"):
        with pytest.raises(InputError, match=r"hf://datasets/org/name is not on the Hub, or may not be read.*HF_TOKEN"):
            AnyFiles().find([f"hf://datasets/org/name{path}"])


def test_a_server_that_is_away_is_an_error_of_the_system(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with AnyFiles().open("hf://datasets/org/name/data/a.parquet") as file:

        def away(start: int, end: int) -> bytes:
            import httpx2

            raise httpx2.ConnectError("refused")

        monkeypatch.setattr(file._file, "_fetch_range", away)  # type: ignore[attr-defined]
        file._file.cache.fetcher = away  # type: ignore[attr-defined]
        with pytest.raises(OSError, match="refused") as caught:
            file.read(1)
        assert caught.value.errno == errno.EIO


def test_a_hub_that_is_not_reached_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> list[object]:
        import httpx2

        raise httpx2.ConnectError("[Errno -2] Name or service not known")

    monkeypatch.setattr("scorer.files.hub.HubFiles._found", away)
    with pytest.raises(StorageError, match=r"Cannot list hf://datasets/org/name: .*not known\. Look at the network"):
        AnyFiles().find(["hf://datasets/org/name"])


def test_nothing_is_written_to_the_hub(hub: Hub) -> None:
    files = AnyFiles()
    for act in (lambda p: files.create(p), lambda p: files.append(p, b""), files.delete, lambda p: files.lock(p, "me")):
        with pytest.raises(SpecError, match="datasets of the Hub are only read"):
            act("hf://datasets/org/name/x")


def test_a_path_without_a_dataset_is_told() -> None:
    with pytest.raises(InputError, match="is no path on the Hub"):
        AnyFiles().find(["hf://datasets/only-one"])
