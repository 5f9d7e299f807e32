"""Token counts: the model's own, on a machine without a network too, and for any text a model can generate."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiktoken
from hypothesis import assume, example, given
from hypothesis import strategies as st

from scorer.build.assemble import SAMPLED_FROM
from scorer.build.assemble import counter as counter_of
from scorer.build.plan import check
from scorer.client import tokens
from scorer.client.tokens import FEWEST, Counter, SampledCounter, encoding_for, pieces
from scorer.errors import SetupError

CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"  # what tiktoken calls the file: the SHA-1 of its address
SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

anything = st.text() | st.text(st.characters(categories=["Cs", "Zs", "Lo", "So", "Nd"]))
words = st.lists(st.sampled_from(["Straße", "3/5", "...", "can't", "中文", "😀", "\n", "\r\n\t", " ", "<|endoftext|>"]))


@pytest.fixture(scope="module")
def counter() -> Counter:
    return Counter("o200k_base")


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    """No encoding is kept from the test before, nor for the one after."""
    tokens._load.cache_clear()
    yield
    tokens._load.cache_clear()


def test_encoding_is_loaded_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(tiktoken, "get_encoding", asked.append)
    Counter("cl100k_base")
    SampledCounter("cl100k_base")
    assert asked == ["cl100k_base"]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for rank files of a user who has none yet."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "scorer" / "tiktoken"


@pytest.fixture
def looked_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str | None]]:
    """Where tiktoken was told to look while it loaded, and the hash of the file it would have read there."""
    seen: list[tuple[str | None, str | None]] = []

    def look(name: str) -> None:
        folder = os.environ.get("TIKTOKEN_CACHE_DIR")
        path = Path(folder or "nowhere") / CL100K
        seen.append((folder, hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None))

    monkeypatch.setattr(tiktoken, "get_encoding", look)
    return seen


# --- counts -----------------------------------------------------------------------------------------------------------


def test_counter_counts_like_tiktoken(counter: Counter) -> None:
    assert counter.count(["hello world", "", None]) == [2, 0, 0]
    assert counter.exact


@given(st.lists(st.none() | anything, max_size=4))
@example(["<|endoftext|>", "\ud83d", "a\udc00b", "\x00"])
def test_counter_counts_any_text(counter: Counter, texts: list[str | None]) -> None:
    assert [count > 0 for count in counter.count(texts)] == [bool(text) for text in texts]


def test_counter_reads_special_token_as_plain_text(counter: Counter) -> None:
    assert counter.count(["<|endoftext|>"])[0] > 1


@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "中", "a\n"])
def test_counter_counts_100_000_repeated_characters_within_1_percent(counter: Counter, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert counter.count([text])[0] == pytest.approx(len(tiktoken.get_encoding("o200k_base").encode(text)), rel=0.01)


@pytest.mark.slow
def test_counter_survives_a_million_blanks(counter: Counter) -> None:
    """Slow by the size of the text: half a second."""
    assert counter.count([" " * 1_000_000])[0] > 1_000


@given(anything | words.map("".join), st.integers(1, 20))
def test_pieces_join_to_text(text: str, size: int) -> None:
    cut = list(pieces(text, size))
    assert "".join(cut) == text
    assert all(len(piece) <= size for piece in cut)


@given(words)
def test_pieces_cut_at_word_borders_keep_count(counter: Counter, parts: list[str]) -> None:
    text = " ".join(parts)
    cut = list(pieces(text, 40))
    assume(all(re.search(r"\S\Z", before) and after[0] == " " for before, after in pairwise(cut)))
    assert [sum(counter.count(cut))] == counter.count([text])


def test_sampled_counter_sums_up_to_the_count_and_counts_few_texts_exactly(counter: Counter) -> None:
    draw = Random(1)
    prose = [
        " ".join(draw.choices(["a verdict", "of", "Straße", "3.5", "naïve"], k=draw.randint(5, 80))) for _ in range(512)
    ]
    texts = [*prose, None, "", "!"]
    counted, sampled = counter.count(texts), SampledCounter("o200k_base").count(texts)
    assert sum(sampled) == pytest.approx(sum(counted), rel=0.03)
    assert sum(one == other for one, other in zip(counted, sampled, strict=True)) >= 64  # these were counted
    assert (*sampled[-3:-1], min(sampled[-1], 1)) == (0, 0, 1)
    assert SampledCounter("o200k_base").count(texts[:FEWEST]) == counted[:FEWEST]


def test_sampled_counter_counts_as_many_as_the_spread_of_the_texts_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few of texts that are alike, one in eight of texts that differ, and one in eight again once they do."""
    draw = Random(1)
    prose = [" ".join(draw.choices(["four", "word", "text", "then"], k=draw.randint(60, 90))) for _ in range(512)]
    mixed = ["".join(draw.choices("9xKq", k=400)) if draw.random() < 0.5 else text for text in prose]
    sampled, counted = SampledCounter("o200k_base"), 0
    encode = Counter._count

    def counting(self: Counter, text: str) -> int:
        nonlocal counted
        counted += 1
        return encode(self, text)

    monkeypatch.setattr(Counter, "_count", counting)
    numbers = []
    for texts in [prose] * 3 + [mixed] * 2 + [prose] * 50:
        counted = 0
        total = sum(sampled.count(texts))
        numbers.append(counted)
        if texts is prose:
            assert total == pytest.approx(sum(Counter("o200k_base").count(texts)), rel=0.05)
    assert numbers[:3] == [64, FEWEST, FEWEST]
    assert numbers[3:5] == [FEWEST, 64]
    assert numbers[-1] == FEWEST


@given(anything)
@example("naïve")
def test_counter_without_tokeniser_estimates_four_bytes_a_token(text: str) -> None:
    estimate = Counter(None)
    size = len(text.encode("utf-8", "surrogatepass"))
    assert estimate.count([text, None]) == [(size + 3) // 4, 0]
    assert not estimate.exact


# --- which encoding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("openai/gpt-4o-2024-08-06", "o200k_base"),
        ("openrouter/openai/gpt-5.1", "o200k_base"),
        ("azure/gpt-35-turbo", "cl100k_base"),
        ("GPT-4-turbo", "cl100k_base"),
        ("ft:gpt-4o-mini:mine", "o200k_base"),
        ("openai/gpt-oss-20b", "o200k_harmony"),
        ("claude-sonnet-4-5", None),
        ("meta-llama/Llama-3.1-8B-Instruct", None),
        ("", None),
    ],
)
def test_encoding_for_reads_model_name(model: str, encoding: str | None) -> None:
    assert encoding_for(model) == encoding


# --- where the rank files come from -----------------------------------------------------------------------------------


def test_counter_writes_bundled_rank_file_on_bare_machine(
    bare: Path, looked_in: list[tuple[str | None, str | None]]
) -> None:
    Counter("cl100k_base")
    assert looked_in == [(str(bare), SHA256)]
    assert [path.name for path in bare.iterdir()] == [CL100K]
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def test_counter_prefers_rank_file_of_user(
    bare: Path,
    looked_in: list[tuple[str | None, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / CL100K).write_bytes(b"theirs")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    Counter("cl100k_base")
    assert looked_in == [(str(tmp_path), hashlib.sha256(b"theirs").hexdigest())]
    assert not bare.exists()


def test_counter_leaves_empty_cache_folder_of_user_empty(
    bare: Path,
    looked_in: list[tuple[str | None, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(empty))
    Counter("cl100k_base")
    assert looked_in == [(str(bare), SHA256)]
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(empty)
    assert not list(empty.iterdir())


def test_counter_replaces_damaged_rank_file(bare: Path, looked_in: list[tuple[str | None, str | None]]) -> None:
    bare.mkdir(parents=True)
    (bare / CL100K).write_bytes(b"cut sho")
    Counter("cl100k_base")
    assert looked_in == [(str(bare), SHA256)]


def test_counter_works_with_unwritable_home(bare: Path, looked_in: list[tuple[str | None, str | None]]) -> None:
    bare.parent.write_text("a file where the folder would be")
    Counter("cl100k_base")
    [(folder, read)] = looked_in
    assert read == SHA256
    assert folder is not None
    assert not Path(folder).exists()


def test_counter_reports_unavailable_encoding_as_setup_error(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(name: str) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tiktoken, "get_encoding", no_network)
    monkeypatch.setattr(tokens, "_bundled", lambda ranks: None)
    with pytest.raises(
        SetupError, match=r'"cl100k_base" could not be loaded \(no route to host\)\. Install bpe-openai'
    ):
        Counter("cl100k_base")
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_counter_estimate_loads_no_tokeniser() -> None:
    loaded = "import sys; from scorer.client.tokens import Counter; Counter(None).count(['x']); print(*sys.modules)"
    assert not {"tiktoken", "bpe_openai"} & set(run(loaded).split())


@pytest.mark.slow
def test_counter_uses_tiktoken_without_network(bare: Path) -> None:
    """Slow by a second interpreter that reads the real rank file; the bundle's own library is not loaded into it."""
    code = """
import socket, sys
from scorer.client.tokens import Counter
def refuse(*args, **kwargs):
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
print(*Counter("cl100k_base").count(["hello world"]), *Counter("o200k_base").count(["hello world"]))
print("bpe_openai" in sys.modules)
"""
    assert run(code).split() == ["2", "2", "False"]


@pytest.mark.parametrize(
    ("limits", "endpoint", "exact"),
    [
        ({}, {}, False),
        ({"max_usd": 1.0, "max_tokens": 10**6, "requests_per_minute": 60}, {}, False),  # caps reserve by bytes
        ({"tokens_per_minute": 10**6}, {}, True),
        ({"input_tokens_per_minute": 10**6}, {}, True),
        ({}, {"tokens_per_minute": 10**6}, True),
        ({"tokens_per_minute": SAMPLED_FROM - 1}, {}, True),
        ({"tokens_per_minute": SAMPLED_FROM}, {}, False),
    ],
)
def test_counter_of_is_exact_if_rate_limit_needs_tokens(
    limits: dict[str, Any], endpoint: dict[str, Any], *, exact: bool
) -> None:
    url = "http://127.0.0.1:9/v1"
    tree = {
        "input": {"shards": ["in/*.parquet"]},
        "judge": {"kind": "rating", "prompt": "Rate {response}.", "scale": [1, 5]},
        "model": {"name": "gpt-4o-mini", "endpoints": [{"base_url": url, "limits": endpoint}]},
        "limits": limits,
        "output": {"path": "out"},
    }
    if not endpoint:  # endpoints have limits of their own
        tree["model"] = {"name": "gpt-4o-mini", "base_url": url}
    assert counter_of(check(tree).spec).exact is exact
