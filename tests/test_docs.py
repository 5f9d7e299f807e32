"""The documentation tells the truth: the tree is the tree, commands run, every flag, key, column and error is there.

`python tests/test_docs.py` writes the help texts in docs/commands.md anew.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel
from rich.console import Console

import scorer
from scorer.cli import _exit_code, app
from scorer.errors import ROW_ERRORS, ScorerError
from scorer.judges import JUDGES
from scorer.judges.asking import Asking
from scorer.rehearsal.config import RehearsalConfig
from scorer.sample import sample_path
from scorer.schema import result_schema
from scorer.spec import EndpointSpec, Input, JudgeOptions, Limits, Metrics, Model, Output, Price, Spec, covered

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs/commands.md").read_text()
RUN_FILE = (ROOT / "docs/run-file.md").read_text()
OUTPUT = (ROOT / "docs/output.md").read_text()


# --- the tree ---------------------------------------------------------------------------------------------------------


def test_the_readmes_tree_is_the_tree() -> None:
    folder, told = "", []
    for line in README.partition("## The tree\n\n```\n")[2].partition("```")[0].splitlines():
        name, _, note = line.strip().partition("  ")
        if line.startswith(" "):
            assert note.strip(), f"{folder}{name} is there without a word on what it is"
            told.append(folder + name)
        else:
            folder = name
    assert len(told) == len(set(told))
    assert sorted(set(told) - set(_tree())) == [], "is in the README and not there"
    assert sorted(set(_tree()) - set(told)) == [], "is there and not in the README"


def _tree() -> Iterator[str]:
    for folder in ("scorer", "benchmarks", "tests", "scripts", "docs"):
        for entry in (ROOT / folder).iterdir():
            if not entry.name.startswith((".", "__pycache__")):
                yield f"{folder}/{entry.name}{'/' if entry.is_dir() else ''}"


# --- its name on the package index ------------------------------------------------------------------------------------

OF_ANOTHER = (
    re.compile(r"(?<![-\w.])scorer\\?\[[a-z]+\\?\]"),  # an extra
    re.compile(r"pip3? install(?:\s+-[-\w]+)*\s+['\"]?scorer(?![-\w./])"),
)
"""Who installs this gets somebody else's project: ours is batch-scorer."""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("pip install 's" + "corer[lake]'", True),
        ("pip install " + "scorer", True),
        ("pip install -U " + "scorer==0.2", True),
        ("the extra `scorer" + "[metrics]`", True),
        (r"match=r'scorer" + r"\[lake\]'", True),
        ("pip install 'batch-scorer[lake]'", False),
        ("pip install -e .", False),
        ("pip install batch-scorer; scorer init", False),
        ("scorer.judges[0]", False),
    ],
)
def test_the_name_of_another_project_is_told_from_ours(text: str, wrong: bool) -> None:
    assert any(pattern.search(text) for pattern in OF_ANOTHER) is wrong


def test_nothing_says_to_install_another_project_of_this_name() -> None:
    found, seen = [], 0
    for path in sorted(ROOT.rglob("*")):
        inner = path.relative_to(ROOT).parts
        if any(part.startswith(".") or part == "__pycache__" for part in inner) or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        seen += 1
        found += [f"{path.relative_to(ROOT)}: {one[0]}" for pattern in OF_ANOTHER for one in pattern.finditer(text)]
    assert seen > 300
    assert found == []


def test_the_distribution_is_ours_with_the_version_and_the_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("batch-scorer", scorer.__version__)
    assert project["scripts"] == {"scorer": "scorer.cli:main"}


# --- the commands -----------------------------------------------------------------------------------------------------


def names() -> list[str]:
    return [name for name in app if not name.startswith("-")]


def help_of(command: str) -> str:
    """What `scorer COMMAND --help` prints on a screen of 100 columns."""
    printed = io.StringIO()
    app.help_print([command], console=Console(file=printed, width=100, color_system=None, force_terminal=False))
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def with_help(text: str) -> str:
    """docs/commands.md with its help texts as they are now."""
    for name in names():
        block = f"```text\n{help_of(name)}\n```"
        text = re.sub(rf"```text\nUsage: scorer {name}\b.*?\n```", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


@pytest.mark.parametrize("command", names())
def test_every_command_is_described_with_the_help_it_gives(command: str) -> None:
    assert f"## scorer {command}\n" in COMMANDS
    assert help_of(command) in COMMANDS, "run: python tests/test_docs.py"
    assert re.search(rf"^\| `scorer {command}\b", README, re.MULTILINE), "not in the README's table of commands"


def test_no_command_is_described_that_is_not_there() -> None:
    assert sorted(re.findall(r"^## scorer (\w+)$", COMMANDS, re.MULTILINE)) == sorted(names())
    assert set(re.findall(r"^\| `scorer (\w+)", README, re.MULTILINE)) == set(names())


def test_every_exit_code_is_explained() -> None:
    kinds = [ScorerError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", COMMANDS, re.MULTILINE)}
    assert told == {0} | {kind.exit_code for kind in kinds}


OF_A_JUDGE = ("rehearse",)
"""Commands that start a server."""


@pytest.mark.slow
def test_the_readmes_shell_commands_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slow: they really run, in a folder of their own and in their order; a table of stored replies is the judge."""
    monkeypatch.chdir(tmp_path)
    ids = pq.read_table(sample_path(), columns=["id"]).column("id")
    pq.write_table(pa.table({"id": ids, "reply": ["Score: 3"] * len(ids)}), "replies.parquet")
    stored = (
        'model={provider="recorded", path="replies.parquet", keys=["id"], replies="reply"}',
        'judge={prompt="{response}"}',
    )
    ran = []
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "scorer" and arguments[0] not in OF_A_JUDGE:
                sets = [word for value in stored for word in ("--set", value)] if arguments[0] == "run" else []
                assert _exit_code([*arguments, *sets]) == 0, (line, capsys.readouterr().err)
            elif program == "scorer":
                assert set(re.findall(r"--[a-z-]+", line)) <= set(re.findall(r"--[a-z-]+", help_of(arguments[0]))), line
            elif program != "pip":
                assert os.access(ROOT / program, os.X_OK), line
            ran.append(" ".join([program, *arguments[:1]]))
    assert {"scripts/demo", "scripts/test", "scorer init", "scorer plan", "scorer run", "scorer status"} <= set(ran)


def test_the_readmes_run_file_is_one(tmp_path: Path) -> None:
    from scorer.build import check
    from scorer.runfile import read_toml

    for document in (README, RUN_FILE):
        for text in re.findall(r"```toml\n(.*?)```", document, re.DOTALL):
            assert check(read_toml("README.md", text)).spec.input.shards


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            assert target.startswith("https://") or (path.parent / target).exists(), (path.name, target)


# --- the run file -----------------------------------------------------------------------------------------------------

SECTIONS: dict[str, type[BaseModel]] = {
    "input": Input,
    "model": Model,
    "model.endpoints": EndpointSpec,
    "model.price": Price,
    "limits": Limits,
    "metrics": Metrics,
    "output": Output,
}
SHARED = {"keys", "temperature", "temperatures"}  # judges get these from [model]


def keys() -> dict[str, Any]:
    """Every key of a run file, [rehearsal] apart, with its default; `...` where it is required."""
    found: dict[str, Any] = {}
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            found[f"{section}.{name}"] = ... if field.is_required() else field.default
    for name, field in JudgeOptions.model_fields.items():
        found[f"judge.{name}"] = field.default
    for target in JUDGES.values():
        module, _, name = target.partition(":")
        for option, parameter in inspect.signature(getattr(importlib.import_module(module), name)).parameters.items():
            if option not in SHARED and parameter.kind is parameter.KEYWORD_ONLY:
                found.setdefault(f"judge.{option}", parameter.default)
    for asked in dataclasses.fields(Asking):
        if asked.name not in SHARED:
            found[f"judge.{asked.name}"] = asked.default
    return found


def described() -> dict[str, str]:
    """Each key that has a heading, with what stands below it."""
    found: dict[str, str] = {}
    for heading, text in re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", RUN_FILE, re.MULTILINE | re.DOTALL):
        found.update(dict.fromkeys(re.findall(r"`([^`]+)`", heading), text.strip()))
    return found


def test_every_key_of_a_run_file_has_its_heading_and_no_other() -> None:
    rehearsal = {f"rehearsal.{field.name}" for field in dataclasses.fields(RehearsalConfig)}
    assert sorted(described()) == sorted({*keys(), *rehearsal})
    assert all(len(text.splitlines()) > 2 for text in described().values())


@pytest.mark.parametrize("key", sorted(keys()))
def test_a_key_has_the_default_that_is_told(key: str) -> None:
    default = keys()[key]
    told = re.match(r"\*Default: (.*?)\. On resume", described()[key])
    assert told is not None
    if default is ...:
        assert told[1] == "required"
    elif default in (None, (), "") or default == {} or isinstance(default, BaseModel):
        assert told[1] == "none"
    else:
        assert told[1] == f"`{json.dumps(default)}`"


def test_what_a_resume_holds_fixed_is_what_the_fingerprint_covers() -> None:
    values: dict[str, Any] = {
        "input": {"shards": ["x"], "id": "a", "keep": ["b"]},
        "judge": {name.partition(".")[2]: "x" for name in keys() if name.startswith("judge.")} | {"dedupe": True},
        "model": {
            "alias": "a", "provider": "p", "dialect": "vllm", "name": "n", "path": "p", "base_url": "u",
            "api_key_env": "K", "headers": {"h": "h"}, "query": {"q": "q"}, "extra": {"e": 1}, "temperature": 1.0,
            "max_output_tokens": 1, "timeout_s": 1.0, "retries": 1, "endpoints": [{"base_url": "u"}],
            "price": {"input": 1, "output": 1}, "keys": ["k"], "replies": "r", "where": {"w": 1},
        },
        "limits": {"max_tokens": 1},
        "metrics": {"names": ["x"], "response": "x", "reference": "x"},
        "output": {"path": "x", "flush_rows": 1},
    }  # fmt: skip
    covers = covered(Spec.model_validate(values), "the text of prompt_file")
    (model,) = covers["models"]
    assert model.keys() < values["model"].keys()
    fixed = {f"model.{name}" for name in model}
    for section in ("input", "judge", "metrics"):
        fixed |= {f"{section}.{name}" for name in covers[section]}
    fixed |= {"judge.prompt_file"}  # by its text
    told = {key for key, text in described().items() if "On resume: fixed" in text}
    assert told == fixed


# --- the output -------------------------------------------------------------------------------------------------------


def test_every_column_and_error_is_in_the_output_documentation() -> None:
    columns = OUTPUT.partition("\n## Columns\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", columns, re.MULTILINE))
    types = {name: kind for cell, kind in rows.items() for name in re.findall(r"`([^`]+)`", cell)}
    arrow = {"list<element: string>": "list of string", "list<item: string>": "list of string", "double": "float64"}
    arrow["timestamp[us, tz=UTC]"] = "timestamp[us, UTC]"
    for field in result_schema(copies=True):
        assert types[field.name] == arrow.get(str(field.type), str(field.type)), field.name
    for name in ("id", "score_q10", "preference", "verdict", "disagreement", "metric_<name>", "score_<criterion>"):
        assert name in types
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", OUTPUT, re.MULTILINE)) == set(ROW_ERRORS)


def test_the_json_keys_of_status_and_plan_are_described() -> None:
    from scorer.planning import Estimate
    from scorer.status import Status
    from scorer.verify import Verdict

    def told(command: str) -> str:
        return COMMANDS.partition(f"## scorer {command}\n")[2].partition("\n## ")[0]

    shapes: Mapping[str, Any] = {"plan": Estimate, "status": Status, "verify": Verdict}
    for command, shape in shapes.items():
        for field in dataclasses.fields(shape):
            assert f"`{field.name}`" in told(command), (command, field.name)


if __name__ == "__main__":
    (ROOT / "docs/commands.md").write_text(with_help(COMMANDS))
