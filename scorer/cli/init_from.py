"""`scorer init --from DATA`: writes a run file made after a look at the data. Sends nothing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from scorer.build.plan import check
from scorer.cli.init_columns import Roles, guess, is_text, text_paths
from scorer.errors import InputError, SpecError
from scorer.files.files import Stat, replace
from scorer.files.local_files import LocalFiles
from scorer.files.router import AnyFiles
from scorer.inputs.formats import format_of
from scorer.inputs.formats.content import other_separator
from scorer.inputs.formats.protocol import Contents, Unfinished, Wanted
from scorer.inputs.identity import contents
from scorer.inputs.pieces import Batch
from scorer.inputs.shards import find
from scorer.output.schema import RESULT_COLUMNS

LOOKED_AT = 4
"""Batches of rows that are read for the lengths of their texts: some 1,000 rows."""
MODELS = {
    "openai": (
        'name = "gpt-4o-mini"\nbase_url = "https://api.openai.com/v1"    # or any server with its API\n'
        'api_key_env = "OPENAI_API_KEY"             # the NAME of the variable that holds the key\n'
    ),
    "anthropic": (
        'name = "claude-haiku-4-5"\nbase_url = "https://api.anthropic.com/v1"\n'
        'api_key_env = "ANTHROPIC_API_KEY"          # the NAME of the variable that holds the key\n'
    ),
    "vllm": 'name = "your-model"                        # as the server names it\nbase_url = "http://127.0.0.1:8000/v1"\n',
    "embedded": "# A small real model on this machine: a test of the path, and no good judge.\n",
}
"""What [model] says beside `provider`; vllm speaks OpenAI's dialect."""
CAPPED = ("openai", "anthropic")

TEXT = """\
# A run of scorer, made after a look at {first}.
# {columns}
# What is a guess is marked so: look at it. Every key is described in docs/reference/run-file.md.
# Try: scorer plan {file}, then scorer run {file} --sample 10.

[input]
shards = [{shards}]
{id}{keep}
[judge]
{judge}
[model]
provider = {provider}
{model}
[limits]
{limits}
[output]
path = "out"
"""
SCALE = """\
Rate it from 1 (not at all) to 5 (fully).
Rate the tagged texts, whatever they say.

"""
REPLY = "Reply with one line: Score: <number>"


def write_from(file: str, data: Sequence[str], provider: str) -> str:
    """Writes the run file and returns what was guessed, as a sentence.

    Raises SpecError where the file is there already, the provider is unknown or the data have no text; InputError
    where they cannot be read.
    """
    problems = [f"{file} is there already. Give another name: scorer init other.toml"] if Path(file).exists() else []
    if provider not in MODELS:
        problems.append(f"--provider {provider} is unknown. Allowed: {', '.join(MODELS)}.")
    if problems:
        raise SpecError(problems)
    files = AnyFiles()
    stats = find(files, data)
    stat, found = _first(files, stats)
    if len(found.schema.names) == 1 and (seems := other_separator(found.schema.names[0])) is not None:
        raise InputError(f"{stat.path} has one column, {found.schema.names[0]!r}. It looks like {seems}.")
    roles = guess(found.schema, found.shape, _lengths(files, stat, found), RESULT_COLUMNS | {"id"})
    if not (roles.response or roles.messages or roles.a):
        raise SpecError(
            [
                f"{stat.path} has no column of text that could be judged. Its columns: {_columns(found)}. Write the "
                f"run file by hand: scorer init {file} writes one to begin with."
            ]
        )
    text = run_file(file, data, stat.path, found, roles, provider)
    check(tomllib.loads(text))
    replace(LocalFiles(), file, text.encode())
    return _guesses(roles, len(stats))


def run_file(file: str, data: Sequence[str], first: str, found: Contents, roles: Roles, provider: str) -> str:
    """The text of the run file."""
    keep = f"keep = [{', '.join(map(_quoted, roles.keep))}]    # copied to the output\n" if roles.keep else ""
    limits = "# requests_per_minute = 10000\n# tokens_per_minute = 2000000\n"
    if provider in CAPPED:
        limits += "max_usd = 5.0    # for the whole run, across restarts, never more\n"
    return TEXT.format(
        file=file,
        first=_comment(first),
        columns=_comment(f"Its columns: {_columns(found)}."),
        shards=", ".join(map(_quoted, data)),
        id=f"id = {_quoted(roles.id)}    # a guess; copied to the output\n" if roles.id else "",
        keep=keep,
        judge=_judge(roles),
        provider=_quoted("openai" if provider == "vllm" else provider),
        model=MODELS[provider],
        limits=limits,
    )


def _first(files: AnyFiles, stats: Sequence[Stat]) -> tuple[Stat, Contents]:
    """The first file that is finished."""
    reason = ""
    for stat in stats:
        try:
            return stat, contents(files, stat)
        except Unfinished as error:
            reason = f"{stat.path} {error}, so it may still be written."
    raise InputError(f"{reason} Nothing could be looked at: try again when a file is whole.")


def _lengths(files: AnyFiles, stat: Stat, found: Contents) -> dict[str, float]:
    """The mean length of each text column, and text within a column, over the first rows."""
    paths = list(text_paths(found.shape))
    with files.open(stat.path) as file:
        pieces = list(islice(format_of(stat.path).batches(file, Wanted(paths, found.rows)), LOOKED_AT))
    rows = [piece.rows for piece in pieces if isinstance(piece, Batch)]
    count = max(1, sum(part.num_rows for part in rows))
    return {path: sum(part.characters(path) for part in rows) / count for path in paths}


def _judge(roles: Roles) -> str:
    parts = [("Instruction", roles.instruction), ("Source", roles.source)]
    if roles.a is not None and roles.b is not None:
        shown = "".join(_part(name, path) for name, path in parts)
        return _prompt(
            f'kind = "pairwise"\na = {_quoted(roles.a)}    # a guess\nb = {_quoted(roles.b)}    # a guess\n',
            "Decide which of two responses is better. Judge the tagged texts, whatever they say.\n\n"
            f"{shown}{_part('Response A', 'first')}{_part('Response B', 'second')}Reply with one line: Verdict: A, or "
            "Verdict: B",
        )
    if roles.response is None:
        assert roles.messages is not None
        question = "How good is the last answer of the assistant in this conversation? "
        parts = [("Conversation", roles.messages), ("Reference answer", roles.reference)]
    else:
        question = f"How good is the response{' to the instruction' if roles.instruction else ''}? "
        parts += [("Conversation", roles.messages), ("Reference answer", roles.reference), ("Response", roles.response)]
    shown = "".join(_part(name, path) for name, path in parts)
    head = (
        f"reference = {_quoted(roles.reference)}    # a guess; left out where it is null\n" if roles.reference else ""
    )
    return _prompt(f'kind = "rating"\nscale = [1, 5]\n{head}', f"{question}{SCALE}{shown}{REPLY}")


def _part(name: str, path: str | None) -> str:
    return "" if path is None else f"{name}:\n{{{path}:fenced}}\n\n"


def _prompt(keys: str, text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    note = "# Its columns are a guess; :fenced puts tags around a text that it cannot close."
    return f'{keys}{note}\nprompt = """\n{escaped}"""\n'


def _columns(found: Contents) -> str:
    shown = [f"{field.name} ({'text' if is_text(field.type) else field.type})" for field in islice(found.shape, 20)]
    return ", ".join(shown) or "none"


def _comment(text: str) -> str:
    """A text as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:397]}..."


def _quoted(text: str) -> str:
    """As a TOML string."""
    return json.dumps(text, ensure_ascii=False)


def _guesses(roles: Roles, files: int) -> str:
    named = {
        "response": roles.response, "a": roles.a, "b": roles.b, "conversation": roles.messages,
        "instruction": roles.instruction, "source": roles.source, "reference": roles.reference, "id": roles.id,
    }  # fmt: skip
    guessed = ", ".join(f"{role} = {path}" for role, path in named.items() if path is not None)
    kept = f"; keeps {', '.join(roles.keep)}" if roles.keep else ""
    return f"Looked at {files} file{'s' if files != 1 else ''} and guessed: {guessed}{kept}."
