"""Guesses which columns of an input file are the response, the instruction, the id and so on, by name and type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from scorer.frozen import dataclass
from scorer.patterns import pattern

NAMES: Mapping[str, tuple[str, ...]] = {
    "response": (
        "response", "resps", "output", "answer", "completion", "generation", "generated_text", "generated",
        "prediction", "model_output", "model_response", "assistant", "reply", "summary", "translation", "hypothesis",
        "candidate", "mt", "hyp", "pred", "responses", "outputs", "completions", "generations", "predictions",
        "candidates", "answers",
    ),
    "instruction": (
        "instruction", "prompt", "question", "query", "input", "user", "user_prompt", "request", "problem", "q",
    ),
    "source": ("source", "context", "document", "article", "passage", "src", "text"),
    "reference": (
        "reference", "gold", "target", "expected", "ground_truth", "label", "ideal", "references", "targets",
        "correct_answers", "answers", "ref", "refs",
    ),
    "messages": ("messages", "conversation", "conversations", "chat", "dialogue", "dialog"),
    "id": ("id", "uid", "uuid", "guid", "key", "row_id", "sample_id", "example_id", "question_id", "idx", "index"),
    "a": (
        "response_a", "answer_a", "output_a", "response_1", "output_1", "answer_1", "completion_a", "conversation_a",
        "messages_a", "chosen", "preferred_output",
    ),
    "b": (
        "response_b", "answer_b", "output_b", "response_2", "output_2", "answer_2", "completion_b", "conversation_b",
        "messages_b", "rejected", "non_preferred_output",
    ),
}  # fmt: skip
"""The names that a role is known by, as `_words` writes them, the likeliest first. `a` and `b` go by place."""
KEPT = (
    "model", "system", "model_name", "model_id", "system_id", "generator", "model_a", "model_b", "winner", "task",
    "category", "dataset", "split", "subset", "language", "lang", "item", "item_id", "doc_id", "prompt_id", "human",
    "human_score", "annotator", "rating", "checkpoint", "step", "seed", "sys", "lp", "domain",
)  # fmt: skip
"""The names of columns that analyses group by."""

_NO_PROSE = pattern(
    rf"(?:^|[._])(?:id|{'|'.join((*NAMES['id'], *KEPT, 'models'))}|role|type|name|lang|url|date|time|status|object"
    r"|created|finish_reason|custom_id)(?:\[0\])*$",
    re.I,
)
"""Names of columns whose texts are no generations."""
_GENERIC = frozenset(("text", "content", "value", "body", "data", "message", "choices", "parts"))
"""Names within a column that say nothing of a role: the field around them does."""
_NOT_A_SOURCE = 20
"""Characters that a source has on average at least; a column `source` below names where a row comes from."""
_DEEPEST = 6


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
    texts, chats = list(text_paths(shape)), list(chat_paths(shape))
    pair = _pair([*texts, *chats])
    left = [path for path in texts if path not in pair]
    found: dict[str, str | None] = {}
    for role in ("response", "reference", "instruction", "source"):
        found[role] = None if role == "response" and None not in pair else _named(role, left)
        left = [path for path in left if path != found[role]]
    talks = [path for path in chats if path not in pair] if None in pair else []
    messages = _named("messages", talks) or next(iter(talks), None)
    if found["source"] is not None and lengths.get(found["source"], 0) < _NOT_A_SOURCE and found["response"]:
        found["source"] = None
    if found["response"] is None and messages is None and None in pair:
        prose = [path for path in left if lengths.get(path, 0) > 0 and not _NO_PROSE.search(path)]
        if not prose and found["source"] is not None:
            found["response"], found["source"] = found["source"], None
        else:
            found["response"] = max(prose, key=lambda path: lengths[path], default=None)
    names = {_words(name): name for name in reversed(schema.names) if schema.names.count(name) == 1}
    id_column = next((names[name] for name in NAMES["id"] if name in names), None)
    used = {id_column, *pair, *found.values()}
    forbidden = set(taken)
    keep = [names[name] for name in KEPT if name in names and names[name] not in used | forbidden]
    return Roles(**found, messages=messages, id=id_column, a=pair[0], b=pair[1], keep=tuple(keep))


def text_paths(shape: pa.Schema) -> Iterator[str]:
    """The columns of text, and the texts within columns of fields and lists, by their paths."""
    yield from (path for path, kind in _paths(shape) if is_text(kind))


def chat_paths(shape: pa.Schema) -> Iterator[str]:
    """The columns of conversations, and those within columns of fields, by their paths."""
    yield from (path for path, kind in _paths(shape) if not is_text(kind))


def _paths(shape: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """Texts and conversations. A column whose name stands twice, or cannot stand in a placeholder, has none."""
    for field in shape:
        if _writable(field.name) and shape.names.count(field.name) == 1:
            if pa.types.is_null(field.type) and field.name.lower() in NAMES["messages"]:
                yield field.name, field.type  # rows of several kinds, as with parts beside texts
            yield from _within(field.name, field.type, _DEEPEST)


def _within(path: str, kind: pa.DataType, deep: int) -> Iterator[tuple[str, pa.DataType]]:
    if is_text(kind) or _is_chat(kind):
        yield path, kind
    elif pa.types.is_struct(kind) and deep:
        for field in kind:
            if _writable(field.name) and not set(field.name) & set(".[]"):
                yield from _within(f"{path}.{field.name}", field.type, deep - 1)
    elif (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and deep:
        yield from _within(f"{path}[0]", kind.value_type, deep - 1)


def _pair(paths: Sequence[str]) -> tuple[str, str] | tuple[None, None]:
    """The two columns that are compared: names of the same place in the lists of names."""
    known = {_words(path): path for path in reversed(paths)}
    pairs = zip(NAMES["a"], NAMES["b"], strict=True)
    return next(((known[a], known[b]) for a, b in pairs if a in known and b in known), (None, None))


def _named(role: str, paths: Sequence[str]) -> str | None:
    """The path with the likeliest name, of the least deep; else the first that ends in one, such as `model_answer`."""
    deepest_last = sorted(paths, key=_depth)
    known = {_role_name(path): path for path in reversed(deepest_last)}
    exact = [known[name] for name in NAMES[role] if name in known]
    if exact:
        return min(exact, key=_depth)
    if role == "reference":
        begins = ("reference_", "gold_", "correct_", "expected_", "target_", "best_", "ideal_")
        return next((path for name, path in known.items() if name.startswith(begins)), None)
    ends = tuple(f"_{name}" for name in NAMES[role] if len(name) > 1)
    return next((path for name, path in known.items() if name.endswith(ends) and not name.startswith("system_")), None)


def _role_name(path: str) -> str:
    """The last name of a path that says what it is; `response` of `response.choices[0].message.content`."""
    names = [_words(name) for name in path.replace("[0]", "").split(".")]
    while len(names) > 1 and names[-1] in _GENERIC:
        names.pop()
    last = names[-1]
    return last.removesuffix("_text") or last


def _depth(path: str) -> int:
    return path.count(".")


def _words(name: str) -> str:
    """In lower case, with an underscore between words: `model_answer` of `Model Answer` and of `modelAnswer`."""
    return re.sub(r"[\s_-]+|(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()


def _writable(name: str) -> bool:
    """Whether a name can stand in a placeholder."""
    return bool(name.strip()) and not set(name) & set("{}:\n\r") and not name.endswith(("!r", "!s", "!a"))


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_chat(kind: pa.DataType) -> bool:
    """Whether it is a list of messages."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    fields = {kind.value_type.field(place).name for place in range(kind.value_type.num_fields)}
    return fields >= {"role", "content"} or fields >= {"from", "value"}
