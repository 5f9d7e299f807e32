"""Turns pydantic's validation errors of a run file into sentences, and builds a spec without the invalid keys.

A sentence names the key, its value, what is allowed and what to do. The value of a key that may hold a secret is not
shown.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from scorer.config.spec import BatchOptions, Input, Limits, Metrics, Model, Output, Price, Spec, Stop
from scorer.patterns import pattern

SECRET_NAME = pattern(r"auth|key|secret|token|password|cookie|credential|^sig$|signature", re.IGNORECASE)
SECRET_SHAPE = pattern(
    r"\b(?:sk|pk|gsk|xai|hf|key|nvapi|glpat|pplx|r8|ghp|gho|github_pat|xox[abps])[-_][A-Za-z0-9_-]{16}"
    r"|\bAIza[A-Za-z0-9_-]{30}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bdapi[0-9a-f]{30}|\beyJ[A-Za-z0-9_-]{16,}\."
    r"|\bBearer\s+[^\s$]",
    re.IGNORECASE | re.ASCII,
)
"""Keys of OpenAI, Anthropic, Groq, xAI, Hugging Face, NVIDIA, Google, AWS, Databricks, GitHub; JSON web tokens."""
_RANDOM = pattern(r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*[0-9])[A-Za-z0-9_+=-]{32,}")
"""Matches no hex id and no UUID, which have one case."""
_IDS = pattern(r"^(?:org|proj|asst|req|session)[-_]")
_NO_SECRETS = frozenset({"keys", "max_output_tokens", "max_tokens"})

_WANTED = {
    "missing": "is missing",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must not hold a NUL character",
    "too_short": "needs at least {min_length}",
    "finite_number": "must be a finite number",
}
_KINDS = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list [...]",
    "dict_type": "a table {...}",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_EXAMPLES = {
    "input": '[input] shards = ["data/*.parquet"]',
    "input.shards": 'shards = ["data/*.parquet"]',
    "output": '[output] path = "out"',
    "output.path": 'path = "out"',
}


def sentences(error: ValidationError, tree: Mapping[str, Any]) -> list[str]:
    """One sentence for each mistake. The errors of a union's members are joined into one sentence."""
    said: dict[str, str] = {}
    for wrong in error.errors(include_url=False, include_context=True):
        sentence = _sentence(wrong, tree)
        head, must, wish = sentence.partition(" must be ")
        said[head] = f"{said[head].rstrip('.')} or {wish}" if must and head in said else sentence
    return list(said.values())


def _sentence(error: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    loc = _loc(error)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    value = _value_at(tree, loc)
    given = "" if value is _ABSENT else f" = {shown(str(loc[-1]), value)}"
    kind = error["type"]
    if kind == "missing":
        return f"{key} is missing. Add it, for example: {_EXAMPLES.get(key, f'{loc[-1]} = ...')}"
    if kind == "extra_forbidden":
        return f"{key}{given} is not a key of a run file.{_suggestion(loc)}"
    if kind in _KINDS:
        return f"{key}{given} must be {_KINDS[kind]}."
    if kind in _WANTED:
        return f"{key}{given} {_WANTED[kind].format(**error.get('ctx', {}))}."
    if kind == "value_error":
        return f"{key}{given} {str(error['msg']).removeprefix('Value error, ')}."
    return f"{key}{given}: {error['msg']}."


def _loc(error: Mapping[str, Any]) -> list[Any]:
    """The path of an error in the tree, without pydantic's names for the members of a union."""
    unions = ("int", "str", "bool", "float")
    return [p for p in error["loc"] if p not in unions and not str(p).startswith(("constrained", "literal["))]


_ABSENT = object()


def _value_at(tree: Any, loc: Sequence[Any]) -> Any:
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return tree


def shown(name: str, value: Any) -> str:
    """A key's value for a message: at most 60 characters; "..." where it may be a secret."""
    text = json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))  # orjson stops at 64 bits
    named = SECRET_NAME.search(name) and name not in _NO_SECRETS and not name.endswith("_per_minute")
    if named or SECRET_SHAPE.search(text) or (isinstance(value, dict) and SECRET_NAME.search(text)):
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."


def beyond_64_bits(value: Any, key: str = "") -> list[str]:
    """One sentence for each whole number of a tree of the run file that TOML, JSON and Arrow do not hold."""
    if isinstance(value, Mapping):
        return [found for name, one in value.items() for found in beyond_64_bits(one, f"{key}.{name}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [found for place, one in enumerate(value) for found in beyond_64_bits(one, f"{key}[{place}]")]
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        return []
    given = shown(key.rpartition(".")[2], value)
    return [
        f"{key} = {given} must be within 64 bits: from {-(2**63)} to {2**63 - 1}. Write a text in quotes for an id."
    ]


def looks_random(text: str) -> bool:
    """True for a word of 32 or more characters with lower-case letters, upper-case letters and digits: likely a key."""
    return _RANDOM.fullmatch(text) is not None and _IDS.match(text) is None


def _suggestion(loc: Sequence[Any]) -> str:
    known: dict[tuple[str, ...], type[BaseModel]] = {
        (): Spec, ("input",): Input, ("model",): Model, ("models",): Model, ("limits",): Limits, ("stop",): Stop,
        ("metrics",): Metrics, ("output",): Output, ("model", "price"): Price, ("model", "batch"): BatchOptions,
    }  # fmt: skip
    section = known.get(tuple(part for part in loc[:-1] if isinstance(part, str)))
    names = sorted(section.model_fields) if section is not None else []
    hint = did_you_mean(str(loc[-1]), names)
    return f"{hint} Known here: {', '.join(names)}." if names else hint


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A question with the most similar of `names`, after a space; empty where none is similar."""
    import difflib  # for mistakes alone

    close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f" Did you mean {close[0]}?" if close else ""


# --- the spec without its invalid keys --------------------------------------------------------------------------------

_STAND_INS: dict[str, Any] = {
    "input": {"shards": ["-"]},
    "input.shards": ["-"],
    "output": {"path": "-"},
    "output.path": "-",
    "model": {"name": "-"},
    "model.price": {"input": 0, "output": 0},
    "models.price": {"input": 0, "output": 0},
    "price.input": 0,
    "price.output": 0,
}
"""Placeholder values of required keys, by the last two names of the key."""


def without_invalid_keys(tree: Mapping[str, Any]) -> Spec | None:
    """The spec without the keys that pydantic refuses, for further checks only; None where no spec can be built.

    Placeholders stand for required keys, so it must not be run.
    """
    left = copy.deepcopy(dict(tree))
    for _ in range(9):  # removing one mistake may reveal another
        try:
            return Spec.model_validate(left)
        except ValidationError as error:
            # From the last to the first: deleting from a list moves none that is still to come.
            for wrong in reversed(error.errors(include_url=False, include_input=False)):
                _remove(left, _loc(wrong), missing=wrong["type"] == "missing")
    return None


def _remove(tree: dict[str, Any], loc: list[Any], *, missing: bool) -> None:
    key = ".".join([part for part in loc if isinstance(part, str)][-2:])
    if missing and key not in _STAND_INS:
        loc = loc[:-1]  # the whole table that lacks the key is removed
    parent = _value_at(tree, loc[:-1])
    if isinstance(parent, dict) and key in _STAND_INS:
        parent[loc[-1]] = copy.deepcopy(_STAND_INS[key])
    elif _value_at(parent, loc[-1:]) is not _ABSENT:
        del parent[loc[-1]]
