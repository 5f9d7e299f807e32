"""Structured output: the request fields that restrict a reply to a JSON schema, in the form of each server.

Sources: OpenAI, "Structured outputs" (`response_format`); Anthropic, "Structured outputs" (`output_config`) and tools;
vLLM, "Structured outputs" (`structured_outputs`, until 0.11 `guided_json`); llama.cpp, server README (`json_schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]
SchemaForm = Callable[[Schema], Mapping[str, Any]]
"""The fields of a body that ask for a reply by a schema."""

NAME = "verdict"


def response_format(schema: Schema) -> Mapping[str, Any]:
    """OpenAI's, which most servers with its API take."""
    described = {"name": NAME, "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def text_format(schema: Schema) -> Mapping[str, Any]:
    """That of OpenAI's Responses."""
    return {"text": {"format": {"type": "json_schema", "name": NAME, "strict": True, "schema": schema}}}


def json_object(schema: Schema) -> Mapping[str, Any]:
    """Any JSON object; the prompt says which."""
    return {"response_format": {"type": "json_object"}}


def structured_outputs(schema: Schema) -> Mapping[str, Any]:
    """That of vLLM from 0.11 on."""
    return {"structured_outputs": {"json": schema}}


def guided_json(schema: Schema) -> Mapping[str, Any]:
    """That of vLLM before 0.12."""
    return {"guided_json": schema}


def json_schema(schema: Schema) -> Mapping[str, Any]:
    """That of llama.cpp."""
    return {"json_schema": schema}


def output_config(schema: Schema) -> Mapping[str, Any]:
    """Anthropic's, which knows no bounds of numbers."""
    return {"output_config": {"format": {"type": "json_schema", "schema": _without_bounds(schema)}}}


def tool(schema: Schema) -> Mapping[str, Any]:
    """A tool that Anthropic's model must call, whose arguments are the verdict."""
    described = {"name": NAME, "description": "Gives the verdict.", "input_schema": schema}
    return {"tools": [described], "tool_choice": {"type": "tool", "name": NAME}}


def tool_config(schema: Schema) -> Mapping[str, Any]:
    """The same tool for Bedrock's Converse."""
    described = {"name": NAME, "description": "Gives the verdict.", "inputSchema": {"json": schema}}
    return {"toolConfig": {"tools": [{"toolSpec": described}], "toolChoice": {"tool": {"name": NAME}}}}


def offered_tool(schema: Schema) -> Mapping[str, Any]:
    """The same tool where the model reasons: it can then not be made to call one."""
    return {**tool(schema), "tool_choice": {"type": "auto"}}


def no_schema(schema: Schema) -> Mapping[str, Any]:
    """None: the prompt alone says what to write."""
    return {}


def openai_schema_forms(style: str) -> list[SchemaForm]:
    """The forms for a server with OpenAI's API, the preferred first."""
    forms: dict[str, list[SchemaForm]] = {
        "deepseek": [json_object],
        "vllm": [response_format, structured_outputs, guided_json],
        "llamacpp": [response_format, json_schema],
    }
    return [*forms.get(style, [response_format, json_object]), no_schema]


def anthropic_schema_forms(*, reasoning: bool) -> list[SchemaForm]:
    """The forms for Anthropic's Messages, the preferred first."""
    return [output_config, offered_tool if reasoning else tool, no_schema]


def _without_bounds(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {name: _without_bounds(value) for name, value in schema.items() if name not in ("minimum", "maximum")}
    return [_without_bounds(value) for value in schema] if isinstance(schema, list) else schema
