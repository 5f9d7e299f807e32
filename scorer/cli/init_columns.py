"""Guesses which columns of an input file are the response, the instruction, the id and so on, by name and type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa

from scorer.frozen import dataclass
from scorer.patterns import pattern

NAMES: Mapping[str, tuple[str, ...]] = {
    "response": (
        "response", "output", "answer", "completion", "generation", "generated_text", "generated", "prediction",
        "model_output", "model_response", "assistant", "reply", "summary", "translation", "hypothesis", "candidate",
    ),
    "instruction": (
        "instruction", "prompt", "question", "query", "input", "user", "user_prompt", "request", "problem", "q",
    ),
    "source": ("source", "context", "document", "article", "passage", "text"),
    "reference": ("reference", "gold", "target", "expected", "ground_truth", "reference_answer", "label", "ideal"),
    "messages": ("messages", "conversation", "conversations", "chat", "dialogue", "dialog"),
    "id": ("id", "uid", "uuid", "guid", "key", "row_id", "sample_id", "example_id", "question_id", "idx", "index"),
    "a": ("response_a", "answer_a", "output_a", "response_1", "output_1", "answer_1", "completion_a", "chosen"),
    "b": ("response_b", "answer_b", "output_b", "response_2", "output_2", "answer_2", "completion_b", "rejected"),
}  # fmt: skip
"""The names that a role is known by, in lower case, the likeliest first."""
KEPT = (
    "model", "system", "model_name", "model_id", "task", "category", "dataset", "split", "subset", "language", "lang",
    "item", "item_id", "doc_id", "human", "human_score", "annotator", "rating", "checkpoint", "step", "seed",
)  # fmt: skip
"""The names of columns that analyses group by."""

_NO_PROSE = pattern(
    rf"(?:^|[._])(?:id|{'|'.join((*NAMES['id'], *KEPT))}|role|type|name|lang|url|date|time|status)$", re.I
)
"""Names of columns whose texts are no generations."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns, or paths into columns, by what they seem to be; None where none seems to be it."""

    response: str | None = None
    instruction: str | None = None
    source: str | None = None
    reference: str | None = None
    messages: str | None = None
    id: str | None = None
    a: str | None = None
    b: str | None = None
    keep: tuple[str, ...] = ()


def guess(schema: pa.Schema, shape: pa.Schema, lengths: Mapping[str, float], taken: Iterable[str]) -> Roles:
    """The roles of a file's columns.

    `schema` has the columns' types, `shape` the fields within them, `lengths` the mean length of each text column or
    path in some rows. Names in `taken` cannot be kept. Without a response or a conversation by name, the longest text
    column is the response that is no id, role or the like.
    """
    texts = dict(text_paths(shape))
    found: dict[str, str | None] = {role: _named(role, texts) for role in ("response", "instruction", "source")}
    found |= {role: _named(role, texts) for role in ("reference", "a", "b")}
    chats = [field.name for field in shape if _is_chat(field) and _writable(field.name)]
    messages = _named("messages", dict.fromkeys(chats)) or (chats[0] if chats else None)
    if found["a"] is None or found["b"] is None:
        found["a"] = found["b"] = None
    if found["response"] is None and messages is None and found["a"] is None:
        others = [path for path in texts if path not in found.values() and lengths.get(path, 0) > 0]
        prose = [path for path in others if not _NO_PROSE.search(path)]
        if not prose and found["source"] is not None:
            found["response"], found["source"] = found["source"], None
        else:
            found["response"] = max(prose or others, key=lambda path: lengths[path], default=None)
    names = {name.lower(): name for name in schema.names}
    id_column = next((names[name] for name in NAMES["id"] if name in names), None)
    used = {id_column, *found.values()}
    forbidden = set(taken)
    keep = [names[name] for name in KEPT if name in names and names[name] not in used | forbidden]
    return Roles(**found, messages=messages, id=id_column, keep=tuple(keep))


def text_paths(shape: pa.Schema) -> Iterable[tuple[str, pa.DataType]]:
    """The columns of text, and the texts within columns of fields, by their paths."""
    for field in shape:
        if not _writable(field.name):
            continue
        if is_text(field.type):
            yield field.name, field.type
        elif pa.types.is_struct(field.type):
            for inner in field.type:
                if is_text(inner.type) and _writable(inner.name) and not set(inner.name) & set(".[]"):
                    yield f"{field.name}.{inner.name}", inner.type


def _named(role: str, paths: Iterable[str]) -> str | None:
    known = {path.rpartition(".")[2].lower(): path for path in reversed(list(paths))}
    return next((known[name] for name in NAMES[role] if name in known), None)


def _writable(name: str) -> bool:
    """Whether a name can stand in a placeholder."""
    return bool(name.strip()) and not set(name) & set("{}:\n\r") and not name.endswith(("!r", "!s", "!a"))


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_chat(field: pa.Field) -> bool:
    """A list of messages; or, by its name, a column whose rows are of several kinds, as with parts beside texts."""
    kind = field.type
    if pa.types.is_null(kind):
        return field.name.lower() in NAMES["messages"]
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    fields = {kind.value_type.field(place).name for place in range(kind.value_type.num_fields)}
    return fields >= {"role", "content"} or fields >= {"from", "value"}
