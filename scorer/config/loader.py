"""Loads the run file: TOML to a `Spec`. Reports all mistakes at once, each as a sentence that says what to do."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from scorer.config.addresses import fleet_problem, is_plain, names_fleet
from scorer.config.literal_secrets import REFERENCE, leaks
from scorer.config.messages import beyond_64_bits, sentences, without_invalid_keys
from scorer.config.out_folder import STDIN
from scorer.config.spec import Model, Spec
from scorer.errors import SpecError
from scorer.patterns import pattern


def read_toml(path: str, text: str | None = None) -> dict[str, Any]:
    """The run file as nested dicts. Raises SpecError that names the file, or the line that is not valid TOML."""
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig") if text is None else text)
    except FileNotFoundError:
        raise SpecError(
            [f"{path} does not exist. Give the path of a run file, or write one: scorer init {path}"]
        ) from None
    except OSError as error:
        raise SpecError([f"{path} cannot be read: {error.strerror}. Give a readable run file."]) from error
    except UnicodeDecodeError as error:
        raise SpecError([f"{path} is not UTF-8 text (byte {error.start}). A run file is TOML in UTF-8."]) from error
    except ValueError as error:  # a TOMLDecodeError, or a number of more than 4,300 digits
        raise SpecError([f"{path} is not TOML: {error}. Strings need quotes, tables [brackets]."]) from error


def read_stdin() -> dict[str, Any]:
    """The run file on stdin as nested dicts. stdin is read once; further calls return the same. Raises SpecError."""
    return read_toml("stdin", _stdin_text())


def run_file_text(path: str) -> str:
    """The text of a run file that was read before; STDIN names the one on stdin."""
    return _stdin_text() if path == STDIN else Path(path).read_text(encoding="utf-8-sig")


def _stdin_text() -> str:
    try:
        return _all_of(sys.stdin)
    except UnicodeDecodeError as error:
        raise SpecError([f"stdin is not UTF-8 text (byte {error.start}). A run file is TOML in UTF-8."]) from error


@lru_cache(maxsize=1)
def _all_of(stream: TextIO) -> str:
    return stream.read().removeprefix("\ufeff")


Sets = Sequence[str] | Mapping[str, Any]
"""Keys to set: texts `key.path=value`, or a dict of `key.path` and value, or of a section and its keys."""


def set_values(tree: dict[str, Any], sets: Sets) -> dict[str, Any]:
    """Sets each key in the tree. Values in texts are parsed as TOML, else taken as strings. Raises SpecError."""
    problems = []
    for item, path, value in assignments(sets):
        keys = path.strip().split(".")
        if not all(keys):
            problems.append(f"--set {item!r} is not key.path=value, for example --set limits.max_usd=20")
            continue
        node: Any = tree
        for key in keys[:-1]:
            if isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict):
                node = node.setdefault(key, {})
            else:
                node = None
                break
        if isinstance(node, dict):
            node[keys[-1]] = value
        elif isinstance(node, list) and keys[-1].isdigit() and int(keys[-1]) < len(node):
            node[int(keys[-1])] = value
        else:
            problems.append(f"--set {item!r}: {'.'.join(keys[:-1])} is not a table")
    if problems:
        raise SpecError(problems)
    return tree


def assignments(sets: Sets) -> Iterator[tuple[str, str, Any]]:
    """Each key path with its value, after what a message quotes; a path that is "" is none."""
    if isinstance(sets, str):
        sets = [sets]
    if isinstance(sets, Mapping):
        for name, value in sets.items():
            if isinstance(value, Mapping) and "." not in str(name):
                yield from ((f"{name}.{key}", f"{name}.{key}", inner) for key, inner in value.items())
            else:
                yield str(name), str(name), value
        return
    for item in sets:
        path, equals, text = str(item).partition("=")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except ValueError:
            value = text
        yield str(item), path if equals else "", value


def parse(tree: Mapping[str, Any]) -> tuple[Spec | None, list[str]]:
    """The spec and one sentence for each mistake in it.

    Where keys are invalid, the spec is built from the other keys, so that mistakes in these are reported too. It is
    None where that fails.
    """
    try:
        spec: Spec | None = Spec.model_validate(tree)
        problems = beyond_64_bits(tree)
    except ValidationError as error:
        problems = [*beyond_64_bits(tree), *sentences(error, tree)]
        spec = without_invalid_keys(tree)
    reported = {_subject(problem) for problem in problems}
    more = [problem for problem in _conflicts(spec) if _subject(problem) not in reported] if spec is not None else []
    return spec, list(dict.fromkeys([*problems, *more]))


def _subject(problem: str) -> str:
    """The key that a problem is about: the first word of its sentence."""
    return problem.partition(" ")[0].strip("[]:")


def _conflicts(spec: Spec) -> list[str]:
    problems: list[str] = []
    if spec.model is not None and spec.models:
        problems.append("[model] and [[models]] are both given: keep one of them.")
    if not spec.all_models:
        problems.append(
            '[model] is missing: name a judge model, for example provider = "openai", name = "gpt-4o-mini".'
        )
    aliases = [model.alias for model in spec.models]
    if len(set(aliases)) < len(aliases) or ("" in aliases and len(aliases) > 1):
        problems.append(f"models.alias: each of [[models]] needs a different alias; found {aliases}.")
    for model in spec.all_models:
        problems += _model_conflicts(model)
    problems += leaks(spec)
    if spec.limits.tokens_per_minute and (spec.limits.input_tokens_per_minute or spec.limits.output_tokens_per_minute):
        problems.append(
            f"limits.tokens_per_minute = {spec.limits.tokens_per_minute:g} counts input and output together: give only "
            "it, or only input_tokens_per_minute and output_tokens_per_minute."
        )
    paths = [*(("input.shards", path) for path in spec.input.shards), ("output.path", spec.output.path)]
    for key, path in [*paths, ("judge.prompt_file", spec.judge.prompt_file)]:
        if path is not None and path.startswith("~"):
            problems.append(
                f'{key} = "{path}" begins with ~ and leads to no home folder of this machine. ~/ is your own; write '
                f"./{path} for a file of that name."
            )
    for key, path in paths:
        if key == "input.shards" and path.startswith("hf:") and _HUB.fullmatch(path):
            continue
        if "://" in path and not _URI.fullmatch(path):
            problems.append(
                f'{key} = "{path}" must be a local path, or s3://, gs:// or az:// with a bucket and a path, such as '
                f"s3://bucket/folder{' (or hf://datasets/org/name)' if key == 'input.shards' else ''}."
            )
    if not os.path.abspath(spec.output.path).strip(os.sep):
        problems.append(
            f'output.path = "{spec.output.path}" is the root of this machine\'s files. Name a folder for this run, '
            'such as "out".'
        )
    kept = [*spec.input.keep, *([spec.input.id] if spec.input.id else [])]
    for name in sorted({name for name in kept if kept.count(name) > 1}):
        problems.append(f"input.keep = [... {name!r} ...] is named twice (input.id is always kept): take one out.")
    return problems


_HUB = pattern(r"hf://datasets/[^/\s]+/[^/\s]+(?:/.*)?")
_URI = pattern(r"(?:s3|gs|az)://[^/\s]+(?:/.*)?")
_NAME_OF_VARIABLE = pattern(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _model_conflicts(model: Model) -> list[str]:
    where = model.section
    problems: list[str] = []
    urls = [
        ("base_url", model.base_url),
        *((f"base_urls[{i}]", url) for i, url in enumerate(model.base_urls)),
        *((f"endpoints[{i}].base_url", e.base_url) for i, e in enumerate(model.endpoints)),
    ]
    for key, url in urls:
        if url is not None and names_fleet(url) and key.startswith("base_urls"):
            if (problem := fleet_problem(url)) is not None:
                problems.append(f'{where}.base_urls = "{url}" {problem}')
        elif url is not None and not is_plain(url):
            shown = "" if re.search("[@?]", url) else f' = "{url}"'
            problems.append(
                f'{where}.{key}{shown} must be a plain http(s) address such as "https://api.openai.com/v1", without '
                "spaces, user or password; a query goes to model.query."
            )
    keys = [
        ("api_key_env", model.api_key_env),
        *((f"endpoints[{i}].api_key_env", e.api_key_env) for i, e in enumerate(model.endpoints)),
    ]
    for key, name in keys:
        if name is not None and _looks_like_key(name):
            problems.append(
                f"{where}.{key} seems to hold a key. It takes the NAME of an environment variable, for example "
                '"OPENAI_API_KEY"; put the key in that variable.'
            )
    if model.base_urls and (model.base_url is not None or model.endpoints):
        problems.append(f"{where}.base_urls is given beside base_url or endpoints: keep one of them.")
    if model.fleet is not None and len(model.base_urls) > 1:
        problems.append(
            f"{where}.base_urls: {model.fleet} stands beside other addresses. A file or a DNS name stands alone; put "
            "the others into the file."
        )
    if model.base_urls and model.provider == "embedded":
        problems.append(f'{where}.base_urls does not go with provider = "embedded", which serves itself: take it out.')
    if model.api != "chat" and model.provider != "openai":
        problems.append(
            f'{where}.api = "{model.api}" belongs to provider = "openai", but provider = "{model.provider}": take it '
            "out."
        )
    if model.classifies:
        problems += [
            f'{where}.{key} does not go with {where}.api = "{model.api}": a classifier generates no text. Remove it.'
            for key in ("temperature", "max_output_tokens", "reasoning")
            if key in model.model_fields_set
        ]
    if model.api_key_command and any(name is not None for _, name in keys):
        problems.append(f"{where}.api_key_command and api_key_env are both given: keep one of them.")
    if model.provider == "recorded":
        problems += [
            f'{where}.{key} is missing: provider = "recorded" needs a Parquet table of replies.'
            for key in ("path", "replies")
            if getattr(model, key) is None
        ]
        if not model.keys:
            problems.append(f'{where}.keys is missing: provider = "recorded" needs the columns that identify a row.')
    else:
        problems += [
            f'{where}.{key} belongs to provider = "recorded", but provider = "{model.provider}": take it out.'
            for key in ("keys", "replies", "where")
            if getattr(model, key)
        ]
    if model.provider not in ("recorded", "embedded"):
        if not model.name:
            problems.append(f'{where}.name is missing: name the judge model, for example "gpt-4o-mini".')
        if model.path:
            problems.append(
                f'{where}.path = "{model.path}" belongs to provider = "embedded" or "recorded", but provider = '
                f'"{model.provider}": take it out.'
            )
    if model.base_url and model.endpoints:
        problems.append(f"{where}: base_url and endpoints are both given: keep one of them.")
    return problems


def _looks_like_key(name: str) -> bool:
    if name in os.environ:
        return False
    return not _NAME_OF_VARIABLE.fullmatch(name) or (len(name) >= 20 and "_" not in name)


def references(value: str) -> list[str]:
    """The environment variables that a header or query value refers to."""
    return REFERENCE.findall(value)


def resolve_references(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Header or query values with each `${NAME}` replaced from the environment, and the names that are not set."""
    missing: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            missing.append(match[1])
        return os.environ.get(match[1], "")

    return {name: REFERENCE.sub(value_of, value) for name, value in values.items()}, missing
