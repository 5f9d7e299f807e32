"""Well-formedness: whether a response has a required form, whatever it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from scorer.errors import SpecError
from scorer.metrics.protocol import EachResponse, Metric

_AT = "metrics.options.well_formed"


def well_formed(*, pattern: str | None = None, schema: Any = None, labels: Any = None) -> Metric:
    """1 where the response has the form that the one given option describes, else 0.

    `pattern`: a regular expression that matches the whole response. `schema`: a JSON schema, as a table or JSON text;
    the response is one JSON value that it allows, with nothing but white space around it. `labels`: the response is
    one of these strings, white space around it left aside.

    Raises SpecError where not exactly one option is given, or that one is wrong.
    """
    given = {"pattern": pattern, "schema": schema, "labels": labels}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise SpecError([f"{_AT}: {' and '.join(named) or 'nothing'} given; give one of pattern, schema, labels."])
    fits = _pattern(pattern) if pattern is not None else _schema(schema) if schema is not None else _labels(labels)
    return EachResponse(lambda response: float(fits(response)))


def _pattern(pattern: str) -> Callable[[str], bool]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SpecError([f"{_AT}.pattern: {pattern!r} is no regular expression ({error})."]) from error
    return lambda response: compiled.fullmatch(response) is not None


def _labels(labels: Any) -> Callable[[str], bool]:
    if isinstance(labels, str) or not isinstance(labels, Sequence) or not labels:
        raise SpecError([f"{_AT}.labels: {labels!r} is not allowed; a list of strings is."])
    if bad := [label for label in labels if not isinstance(label, str)]:
        raise SpecError([f"{_AT}.labels: {bad[0]!r} is no string; put each label in quotes."])
    allowed = frozenset(label.strip() for label in labels)
    return lambda response: response.strip() in allowed


def _schema(schema: Any) -> Callable[[str], bool]:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing.jsonschema import EMPTY_REGISTRY

    try:
        tree = orjson.loads(schema) if isinstance(schema, str) else schema
    except orjson.JSONDecodeError as error:
        raise SpecError(
            [f"{_AT}.schema is not JSON: {error}. Give a JSON schema as a table or as JSON text."]
        ) from error
    if not isinstance(tree, dict | bool):
        raise SpecError([f"{_AT}.schema is a {type(tree).__name__}. Give a JSON schema as a table or as JSON text."])
    kind = validator_for(tree, default=Draft202012Validator)
    try:
        kind.check_schema(tree)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its top"
        raise SpecError([f"{_AT}.schema is no JSON schema: at {place}, {error.message}."]) from error
    # With a registry of its own a $ref to an address is an error, never a request.
    validator = kind(tree, registry=EMPTY_REGISTRY)

    def fits(response: str) -> bool:
        try:
            value = orjson.loads(response)
        except orjson.JSONDecodeError:
            return False
        return bool(validator.is_valid(value))

    return fits
