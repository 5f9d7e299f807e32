"""Counts the tokens of texts with the model's tokeniser, or estimates them where it is not known.

tiktoken downloads its rank files at first use. A run must start on a bare machine without a network, so the two files
that today's models need come out of the wheel of bpe-openai into scorer's own cache folder, checked against the hash
that tiktoken itself demands. A file in the user's own tiktoken cache comes first, and the network last.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import math
import os
import random
import re
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.errors import SetupError
from scorer.patterns import pattern

if TYPE_CHECKING:
    from tiktoken import Encoding

_PIECE = 8192
"""Characters that tiktoken gets at once: in one run 0.9 takes quadratic time, and 0.14 panics at a million blanks."""

_BYTES_A_TOKEN = 4

EVERY, FEWEST = 8, 8
"""`SampledCounter` counts at most one text in `EVERY` of a call, but at least `FEWEST`."""

PRECISION, OF_TEXTS = 0.01, 1_700
"""The standard error that it aims at, in parts of the sum over so many texts: what a second of such rates has."""

_RANKS_URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_RANKS_SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
_RANKS_OF = {"cl100k_base": "cl100k_base", "o200k_base": "o200k_base", "o200k_harmony": "o200k_base"}
_USERS_OWN = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")  # as tiktoken reads them: the first that is set

# The last place where no token can lie across: none holds a blank after anything but whitespace.
_UP_TO_A_BORDER = pattern(r".*\S(?= )", re.DOTALL)

_environment = threading.Lock()


def encoding_for(model: str) -> str | None:
    """The name of the tiktoken encoding of a model, None where tiktoken knows none.

    Takes the names of providers and hosts too: `openai/gpt-4o`, `azure/gpt-35-turbo`, `ft:gpt-4o-mini:mine`.
    """
    from tiktoken.model import encoding_name_for_model

    with contextlib.suppress(KeyError):
        return encoding_name_for_model(model.strip().lower().rpartition("/")[2])
    return None


class Counter:
    """Counts the tokens of texts in one encoding; without one, estimates four bytes of UTF-8 a token.

    `exact` says which of the two. Exact counts are of plain text: "<|endoftext|>" is a few words like any other.
    Beyond 8,192 characters a text is counted in pieces; where one has no blank to cut at, the cut may add a token.
    Safe to use from several threads.

    Raises: SetupError where the encoding's rank file is neither on this machine nor to be had from the network.
    """

    __slots__ = ("_encoding", "encoding", "exact")

    def __init__(self, encoding: str | None) -> None:
        self.encoding = encoding
        self.exact = encoding is not None
        self._encoding = None if encoding is None else _load(encoding)

    def __repr__(self) -> str:
        return f"<Counter {self.encoding or 'estimate'}>"

    def count(self, texts: Sequence[str | None]) -> list[int]:
        """The tokens of each text, 0 for None."""
        if self._encoding is not None:
            return [self._count(text) if text else 0 for text in texts]
        return [-(-_bytes(text) // _BYTES_A_TOKEN) if text else 0 for text in texts]

    def _count(self, text: str) -> int:
        assert self._encoding is not None
        encode = self._encoding.encode_ordinary
        if len(text) <= _PIECE:
            return len(encode(text))
        return sum(len(encode(piece)) for piece in pieces(text, _PIECE))


class SampledCounter(Counter):
    """Counts a random part of the texts of a call, and estimates the others by those.

    An estimate is the text's bytes times the tokens a byte of the counted texts of the same call. The sum over a call
    is right on average. As many are counted as the sum over `OF_TEXTS` texts needs for a standard error of `PRECISION`,
    by the spread of the texts of earlier calls (Cochran, Sampling Techniques, 1977, sections 4.6 and 6.3). For rates of
    so many texts that the error of one text does not count. Counting takes 40 us a text of 300 tokens, estimating 0.5
    (docs/project/log.md).
    """

    __slots__ = ("_random", "_spread")

    def __init__(self, encoding: str) -> None:
        super().__init__(encoding)
        self.exact = False
        self._random = random.Random(0)
        self._spread: float | None = None  # the variance of a text's error of estimate, in squares of the mean count

    def count(self, texts: Sequence[str | None]) -> list[int]:
        """The tokens of each text, 0 for None and for an empty one, and at least 1 for any other."""
        sizes = [_bytes(text) if text else 0 for text in texts]
        given = [place for place, size in enumerate(sizes) if size]
        drawn = self._random.sample(given, self._enough(len(given)))
        counts = super().count([texts[place] for place in drawn])
        ratio = sum(counts) / max(1, sum(sizes[place] for place in drawn))
        if len(drawn) >= FEWEST:
            self._learn(counts, [sizes[place] * ratio for place in drawn])
        counted = dict(zip(drawn, counts, strict=True))
        return [
            counted[place] if place in counted else max(1, round(size * ratio)) if size else 0
            for place, size in enumerate(sizes)
        ]

    def _enough(self, given: int) -> int:
        """How many of so many texts are to be counted."""
        share = 1 / EVERY
        if self._spread is not None:
            of_many = self._spread / PRECISION**2  # of infinitely many texts
            share = min(share, of_many / (of_many + OF_TEXTS))
        return min(given, max(FEWEST, math.ceil(given * share)))

    def _learn(self, counts: Sequence[int], estimates: Sequence[float]) -> None:
        """Takes over a larger spread at once, and a smaller one over some eight calls."""
        squares = sum((count - estimate) ** 2 for count, estimate in zip(counts, estimates, strict=True))
        spread = squares / (len(counts) - 1) / (sum(counts) / len(counts)) ** 2
        before = self._spread
        self._spread = spread if before is None or spread > before else before + (spread - before) / 8


def _bytes(text: str) -> int:
    # surrogatepass: half an emoji, cut off by somebody's slice, is no reason to stop a run.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in pieces of at most `size` characters, cut where no token can be cut if there is such a place."""
    start = 0
    while len(text) - start > size:
        border = _UP_TO_A_BORDER.match(text, start, start + size + 1)
        end = border.end() if border else start + size
        yield text[start:end]
        start = end
    yield text[start:]


@functools.cache  # else its file, of up to 4 MB, is read and hashed for each counter
def _load(name: str) -> Encoding:
    import tiktoken

    with _environment, _cache_dir(name):
        try:
            return tiktoken.get_encoding(name)
        except (OSError, ValueError) as error:
            raise SetupError(
                f'The tokeniser "{name}" could not be loaded ({error}). Install bpe-openai, which carries its '
                "file, or point TIKTOKEN_CACHE_DIR at a folder that has it, or start once with a network."
            ) from error


@contextlib.contextmanager
def _cache_dir(name: str) -> Iterator[None]:
    """While inside, tiktoken looks where the rank file of `name` is."""
    ranks = _RANKS_OF.get(name)
    own = next((os.environ[variable] for variable in _USERS_OWN if variable in os.environ), None)
    if ranks is None or (own and (Path(own) / _file_name(ranks)).exists()):
        yield
        return
    with contextlib.ExitStack() as stack:
        folder = cache_folder() / "tiktoken"
        if not _provide(ranks, folder):
            # A home that cannot be written to: a folder for the moment does as well.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scorer-")))
            if not _provide(ranks, folder):
                yield
                return
        before = os.environ.get(_USERS_OWN[0])
        os.environ[_USERS_OWN[0]] = str(folder)
        try:
            yield
        finally:
            del os.environ[_USERS_OWN[0]]
            if before is not None:
                os.environ[_USERS_OWN[0]] = before


def cache_folder() -> Path:
    """The folder that is scorer's own below the user's cache; it may not exist."""
    # The last one is for a container's nameless user, who has no home.
    places = (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache"), tempfile.gettempdir())
    return Path(next(place for place in places if os.path.isabs(place))) / "scorer"


def _file_name(ranks: str) -> str:
    return hashlib.sha1(_RANKS_URL.format(ranks).encode()).hexdigest()


def _provide(ranks: str, folder: Path) -> bool:
    """Whether the true rank file is in `folder` now."""
    path = folder / _file_name(ranks)
    with contextlib.suppress(OSError):
        if _is_true(ranks, path.read_bytes()):
            return True
    content = _bundled(ranks)
    if content is None or not _is_true(ranks, content):
        return False
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        return False
    return True


def _is_true(ranks: str, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == _RANKS_SHA256[ranks]


def _bundled(ranks: str) -> bytes | None:
    # Found, not imported: its library is 74 MB, and the rank files lie beside it.
    spec = importlib.util.find_spec("bpe_openai")
    if spec is None or spec.origin is None:
        return None
    import gzip

    try:
        return gzip.decompress((Path(spec.origin).parent / "data" / f"{ranks}.tiktoken.gz").read_bytes())
    except (OSError, EOFError, zlib.error):
        return None
