"""Finds literal secrets in a run file; each message names the key and not the secret.

run.json, logs and messages quote the run file, so a key belongs into an environment variable. A key is recognised by
the name of its field, by the prefixes that providers use, and in addresses by how random it looks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

from scorer.config.messages import SECRET_NAME, SECRET_SHAPE, looks_random
from scorer.config.spec import Model, Spec
from scorer.patterns import pattern

REFERENCE = pattern(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_IN_BODY = pattern(
    r"(?:api|access|secret|private|auth|account|service|subscription)[-_]?key|secret|passw|authori[sz]ation|cookie|credential"
    r"|(?:access|auth|bearer|api|session|refresh|id)[-_]?token|^(?:key|token|auth|bearer)$",
    re.IGNORECASE,
)
"""Names of secrets in a request body. `prompt_cache_key` and `stop_token_ids` do not match."""
_USER = pattern(r"://[^/@]*:[^/@]*@")
_IN_QUERY = pattern(r"[?&;][^/=]*(?:key|secret|token|sig|passw)[^/=]*=", re.IGNORECASE)
"""A query with a secret. A question mark alone belongs to a glob."""
_KEY_BEFORE = pattern(r"(?:^|[-_])(?:key|keys|apikey|token|tokens|secret|auth)$", re.IGNORECASE)


def leaks(spec: Spec) -> list[str]:
    """One sentence for each secret in the run file."""
    problems = [problem for model in spec.all_models for problem in _of_model(model)]
    paths = [("output.path", spec.output.path), ("output.publish", spec.output.publish or "")]
    paths += [("input.shards", path) for path in spec.input.shards]
    for key, path in paths:
        if "://" in path and (_USER.search(path) or SECRET_SHAPE.search(path) or _IN_QUERY.search(path)):
            problems.append(
                f"{key} seems to hold a user, a key or a query. Give the plain address: credentials are read from the "
                "environment variables that the cloud's own tools use."
            )
    return problems


def _of_model(model: Model) -> Iterator[str]:
    where = model.section
    urls = [("base_url", model.base_url)]
    urls += [(f"base_urls[{i}]", url) for i, url in enumerate(model.base_urls)]
    urls += [(f"endpoints[{i}].base_url", endpoint.base_url) for i, endpoint in enumerate(model.endpoints)]
    for key, url in urls:
        if url is not None and _in_path(url):
            yield (
                f"{where}.{key} seems to hold a key in its path. Messages and run.json show addresses: name the key's "
                f'variable in {where}.api_key_env, or write it in a header or the query as "${{NAME}}".'
            )
    for table in ("headers", "query"):
        for name, value in getattr(model, table).items():
            literal = REFERENCE.sub("", value)
            named = SECRET_NAME.search(name) and literal == value
            if named or SECRET_SHAPE.search(literal) or looks_random(literal):
                yield (
                    f'{where}.{table}.{name} seems to hold a secret. Write it as {name} = "${{NAME}}" and put the '
                    "value in the environment variable NAME."
                )
    if any(SECRET_SHAPE.search(part) for part in model.api_key_command):
        yield f"{where}.api_key_command seems to hold a key. It takes a command that prints the key."
    for path in _in_body(model.extra, f"{where}.extra"):
        yield (
            f"{path} seems to hold a secret, which run.json would store. Name the key's variable in "
            f'{where}.api_key_env, or write {where}.headers = {{api-key = "${{NAME}}"}} and put the value in the '
            "environment variable NAME."
        )
    if model.name is not None and SECRET_SHAPE.search(model.name):
        yield f"{where}.name seems to hold a key. Give the model's name; {where}.api_key_env names the key's variable."


def _in_path(url: str) -> bool:
    try:
        segments = unquote(urlsplit(url).path).split("/")
    except ValueError:  # not an address, which the loader reports
        return False
    if SECRET_SHAPE.search(unquote(url)) or any(map(looks_random, segments)):
        return True
    pairs = [*pairwise(segments), *(part.split("=", 1) for part in segments if "=" in part)]
    return any(_KEY_BEFORE.search(before) and len(after) >= 8 for before, after in pairs)


def _in_body(value: Any, path: str, named: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _in_body(inner, f"{path}.{name}", named or bool(_IN_BODY.search(str(name))))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _in_body(inner, f"{path}[{index}]", named)
    elif isinstance(value, str) and value and (named or SECRET_SHAPE.search(value)):
        yield path
