"""`scorer init`: writes a commented run file that works without a change."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from scorer.cli.sample import sample_path
from scorer.errors import SpecError
from scorer.files.files import replace
from scorer.files.local_files import LocalFiles

STARTER = '''# A run of scorer: what to score, who judges, within which limits, and where the scores go.
# Every key is described in docs/reference/run-file.md. Try: scorer plan {file}, then scorer run {file}.

[input]
shards = ["{sample}"]      # Parquet, .jsonl, .csv, .arrow; folders, globs: here the bundled sample of 60 generations
id = "id"                  # copied to the output
keep = ["model", "task", "item", "human"]

[judge]
# The mean log-probability of the response, given the source and the instruction. It needs no verdict in words, so even
# a very small model gives a number. For a judge that reads and grades, use kind = "rating":
#   kind = "rating"
#   prompt = """{{instruction:fenced}}\\n{{source:fenced}}\\n{{response:fenced}}\\nRate it from 1 to 5. Score:"""
#   scale = [1, 5]
kind = "likelihood"
prompt = """
{{source}}

{{instruction}}

Answer:"""
response = "response"

[model]
# A small real model on this machine: no key, no account, and no more than a smoke test of the path.
provider = "embedded"
# For a hosted or a local server that speaks OpenAI's dialect:
#   provider = "openai"
#   name = "gpt-4o-mini"
#   base_url = "https://api.openai.com/v1"
#   api_key_env = "OPENAI_API_KEY"     # the NAME of the variable that holds the key

[limits]
# requests_per_minute = 10000
# tokens_per_minute = 2000000
# max_usd = 20.0                       # the whole run, across restarts, never more

[output]
path = "{out}"
'''


def starter(file: str, out: str = "out") -> str:
    """The text of the run file, to be written to `file`."""
    return STARTER.format(file=file, sample=sample_path().as_posix(), out=out)


def write_starter(file: str) -> None:
    """Writes the run file. Raises SpecError where the file is there already."""
    if Path(file).exists():
        raise SpecError([f"{file} is there already. Give another name: scorer init other.toml"])
    replace(LocalFiles(), file, starter(file).encode())


def missing_parts(file: str) -> str:
    """What the embedded judge still needs on this machine, as sentences; "" where it has all."""
    from scorer.client.llamacpp_server import find_weights
    from scorer.errors import SetupError

    if importlib.util.find_spec("xllamacpp") is None:
        needs = "Install it: pip install 'batch-scorer[embedded]', and the weights (docs/how-to/install.md)."
    else:
        try:
            find_weights()
        except SetupError as error:
            needs = str(error)
        else:
            return ""
    return (
        f"The embedded judge is not complete on this machine. {needs} Without it, scorer rehearse {file} runs with a "
        "simulated judge, and scorer init hosted.toml --from DATA writes a run file for a hosted one."
    )
