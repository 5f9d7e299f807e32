"""The docs are current: the tree, the commands and their output, every option, key, column and error.

`python tests/test_docs.py` writes the help texts in docs/reference/commands.md anew.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from support.doc_blocks import help_of
from support.sources import parsed

import scorer
import scorer.analysis.gate
from scorer.cli import commands
from scorer.config.fingerprint import covered
from scorer.config.spec import (
    BatchOptions,
    Canary,
    EndpointSpec,
    Input,
    JudgeOptions,
    Limits,
    Metrics,
    Model,
    Output,
    Price,
    Spec,
    Stop,
)
from scorer.errors import ROW_ERRORS, ScorerError
from scorer.judges import JUDGES
from scorer.judges.asking import Asking
from scorer.judges.options import option_defaults
from scorer.output.schema import COLUMNS
from scorer.rehearsal.batches.config import BatchConfig
from scorer.rehearsal.config import RehearsalConfig

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
README_COMMANDS = [
    name
    for row in re.findall(r"^\| (`scorer .*?) \|", README, re.MULTILINE)
    for name in re.findall(r"`scorer (\w+)`", row)
]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
ARCHITECTURE = (ROOT / "docs/project/architecture.md").read_text()
COMMANDS = (ROOT / "docs/reference/commands.md").read_text()
RUN_FILE = (ROOT / "docs/reference/run-file.md").read_text()
OUTPUT = (ROOT / "docs/reference/output.md").read_text()
ERRORS = (ROOT / "docs/reference/errors.md").read_text()


# --- the tree ---------------------------------------------------------------------------------------------------------


def first_line(path: Path) -> str:
    """The first line of a module's docstring, of a Markdown page, or of a script's comment."""
    if path.suffix == ".py":
        return (ast.get_docstring(parsed(path)) or "").partition("\n")[0]
    lines = path.read_text().splitlines()
    return next(line.lstrip("# ").strip() for line in lines if line.startswith("# "))


def tree_of(folder: str) -> Iterator[str]:
    """A line for each file and folder below `folder`, with what it says of itself; folders after files."""

    def walk(path: Path, depth: int) -> Iterator[str]:
        entries = [e for e in sorted(path.iterdir()) if not e.name.startswith((".", "__pycache__"))]
        for entry in [e for e in entries if e.is_file() and e.name not in ("__init__.py", "py.typed")]:
            if entry.suffix in (".py", ".md", ""):
                yield f"{'  ' * depth + entry.name:<30} {first_line(entry)}"
        for entry in [e for e in entries if e.is_dir() and (e / "__init__.py").exists()]:
            yield f"{'  ' * depth + entry.name + '/':<30} {first_line(entry / '__init__.py')}"
            yield from walk(entry, depth + 1)

    yield f"{folder}/"
    yield from walk(ROOT / folder, 1)


def with_trees(text: str) -> str:
    """docs/project/architecture.md with its trees as they are now."""
    for folder in ("scorer", "benchmarks", "scripts"):
        block = "```text\n" + "\n".join(tree_of(folder)) + "\n```"
        text = re.sub(rf"```text\n{folder}/\n.*?```", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def test_architecture_trees_match_the_files_and_their_docstrings() -> None:
    assert with_trees(ARCHITECTURE) == ARCHITECTURE, "run: python tests/test_docs.py"
    for folder in ("scorer", "benchmarks", "scripts"):
        for line in list(tree_of(folder))[1:]:
            assert len(line.split(maxsplit=1)) == 2, f"no first line in {line}"


BASE = (
    "class_values",
    "errors",
    "counted",
    "error_frames",
    "escapes",
    "frozen",
    "patterns",
    "html_tables",
    "plugins",
    "processes",
    "text_width",
    "types",
    "usage",
)
"""What every layer may import; the drawing of the layers shows it as one box."""
APART = ("__init__", "__main__", "schema")


def parts_of_the_package() -> list[str]:
    """The folders and modules at the top of `scorer/` that the drawing of the layers shows."""
    found = (e.stem for e in (ROOT / "scorer").iterdir() if e.suffix == ".py" or (e / "__init__.py").exists())
    return sorted(set(found) - set(BASE) - set(APART))


def imported(node: ast.AST) -> Iterator[str]:
    """The parts of `scorer` that some code imports, those for the type checker alone left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            modules = [name.name for name in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module == "scorer":
            modules = [f"scorer.{name.name}" for name in child.names]
        else:
            modules = [child.module or ""] if isinstance(child, ast.ImportFrom) else []
        yield from (module.split(".")[1] for module in modules if module.startswith("scorer."))
        yield from imported(child)


def layers() -> Iterator[str]:
    """An arrow of the drawing for each import between parts, those that follow from other arrows left out."""
    direct: dict[str, set[str]] = {}
    for part in parts_of_the_package():
        path = ROOT / "scorer" / part
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        names = {name for file in files for name in imported(parsed(file))} - {part}
        direct[part] = names & set(parts_of_the_package()) or {"base"}

    def below(part: str) -> set[str]:
        return set().union(*({name} | below(name) for name in direct.get(part, ())))

    for part, names in direct.items():
        for name in sorted(names - set().union(*(below(other) for other in names))):
            yield f"  {part} --> {name}"


def with_layers(text: str) -> str:
    """docs/project/architecture.md with the arrows between its layers as the imports are now."""
    arrows = "\n".join(layers())
    return re.sub(r"(?<=\n)  \w+ --> \w+\n(?:  \w+ --> \w+\n)*", arrows + "\n", text, count=1)


def test_architecture_drawing_shows_every_part_and_the_imports_between_them() -> None:
    assert with_layers(ARCHITECTURE) == ARCHITECTURE, "run: python tests/test_docs.py"
    drawn = re.findall(r'^  (\w+)\["', ARCHITECTURE.partition("## The layers")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(drawn) == sorted([*parts_of_the_package(), "base"]), "add or remove its box in the drawing"


def test_architecture_names_only_existing_files() -> None:
    for name in re.findall(r"`((?:scorer|docs|tests|scripts|benchmarks)/[\w./-]*\w)`", ARCHITECTURE):
        assert (ROOT / name).exists(), name


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports test files by their names alone: two of one name stop the whole suite."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


# --- the commands -----------------------------------------------------------------------------------------------------


def names() -> list[str]:
    return list(commands.COMMANDS)


def with_help(text: str) -> str:
    """docs/reference/commands.md with its help texts as they are now."""
    for name in names():
        block = f"```text\n{help_of(name)}\n```"
        text = re.sub(rf"```text\nUsage: scorer {name}\b.*?\n```", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


@pytest.mark.parametrize("command", names())
def test_commands_page_has_the_help_of_every_command(command: str) -> None:
    assert f"## scorer {command}\n" in COMMANDS
    assert help_of(command) in COMMANDS, "run: python tests/test_docs.py"
    assert command in README_COMMANDS, "not in the README's table of commands"


def test_commands_page_describes_only_existing_commands() -> None:
    assert sorted(re.findall(r"^## scorer (\w+)$", COMMANDS, re.MULTILINE)) == sorted(names())
    assert sorted(README_COMMANDS) == sorted(names())


def test_docs_explain_every_exit_code() -> None:
    kinds = [ScorerError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = dict(re.findall(r"^\| (\d+) \|([^|]*)\|", ERRORS, re.MULTILINE))
    answers = set(scorer.analysis.gate.EXIT_CODES.values())
    assert {int(code) for code in found} == {0} | {kind.exit_code for kind in kinds} | answers
    for code, cell in found.items():
        for name in re.findall(r"`(\w+)`", cell):
            assert getattr(scorer.errors, name).exit_code == int(code), name


def tree_of_errors() -> str:
    """The classes of errors as scorer/errors.py draws them."""
    return (scorer.errors.__doc__ or "").partition("\n\n")[2].strip()


def with_errors(text: str) -> str:
    """docs/reference/errors.md with the classes as they are now."""
    block = f"```text\n{tree_of_errors()}\n```"
    return re.sub(r"```text\nScorerError.*?\n```", lambda _: block, text, flags=re.DOTALL)


def test_errors_page_has_every_class() -> None:
    assert with_errors(ERRORS) == ERRORS, "run: python tests/test_docs.py"
    kinds = [ScorerError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    ours = {kind.__name__ for kind in kinds if kind.__module__ == "scorer.errors"}
    assert ours == set(re.findall(r"\b([A-Z]\w+) {2,}", tree_of_errors())) | {"ScorerError"}


def test_readme_run_file_is_valid(tmp_path: Path) -> None:
    from scorer.build.plan import check
    from scorer.config.loader import read_toml

    for document in (README, RUN_FILE):
        for text in re.findall(r"```toml\n(.*?)```", document, re.DOTALL):
            assert check(read_toml("README.md", text)).spec.input.shards


def test_docs_links_have_targets() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            assert target.startswith("https://") or (path.parent / target).exists(), (path.name, target)


def named_pages() -> Iterator[tuple[Path, str]]:
    """Each page below docs/ that code, a test or a script names, with the file that names it."""
    for folder in ("scorer", "tests", "scripts", "benchmarks", "docs/examples"):
        for path in [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sh", ".tsv", "")]:
            if path.is_file():
                found = re.findall(r"\bdocs/(?:[a-z-]+/)*(?:[\w-]+\.(?:md|svg)|\d{4})\b", path.read_text())
                yield from ((path, name) for name in found)


def test_pages_hold_no_marks_of_a_merge() -> None:
    for path in [ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"^(?:<{7}|>{7}) ", path.read_text(), re.MULTILINE), path.relative_to(ROOT)


def test_decisions_have_a_number_each_that_their_titles_name() -> None:
    pages = sorted((ROOT / "docs/project/decisions").glob("[0-9]*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert len(set(numbers)) == len(numbers), sorted(number for number in numbers if numbers.count(number) > 1)
    for page, number in zip(pages, numbers, strict=True):
        assert page.read_text().startswith(f"# {number}. "), page.name


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    missing = [page for page in sorted(pages) if page not in site and not page.startswith("project/decisions/0")]
    assert not missing, "add them to `nav` in mkdocs.yml"


def test_every_extra_is_described() -> None:
    install = (ROOT / "docs/how-to/install.md").read_text()
    for extra in tomllib.loads(PYPROJECT)["project"]["optional-dependencies"]:
        assert extra in ("dev", "docs") or f"| `{extra}`" in install, extra


def test_pages_named_in_code_exist() -> None:
    named = [*named_pages(), *((ROOT / "pyproject.toml", n) for n in re.findall(r"docs/[\w/-]+(?:\.md)?", PYPROJECT))]
    assert len(named) > 30
    for path, name in named:
        assert list(ROOT.glob(f"{name}*")), f"{path.relative_to(ROOT)} names {name}, which is not there"


def public_functions() -> list[str]:
    return [name for name in scorer.__all__ if inspect.isfunction(getattr(scorer, name))]


def test_python_page_has_every_public_name_once() -> None:
    page = (ROOT / "docs/reference/python-api.md").read_text()
    shown = re.findall(r"^::: scorer\.(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(scorer.__all__), "add `::: scorer.NAME` to docs/reference/python-api.md"


@pytest.mark.parametrize("name", public_functions())
def test_docstring_of_public_function_explains_every_parameter(name: str) -> None:
    function = getattr(scorer, name)
    doc = inspect.getdoc(function) or ""
    if name == "run_async":
        doc += inspect.getdoc(scorer.run) or ""
    for parameter in inspect.signature(function).parameters:
        if parameter not in ("table", "score", "files"):  # the page says the first two of all analyses
            assert f"`{parameter}" in doc, f"scorer.{name} does not explain {parameter}"


# --- the run file -----------------------------------------------------------------------------------------------------

SECTIONS: dict[str, type[BaseModel]] = {
    "input": Input,
    "model": Model,
    "model.endpoints": EndpointSpec,
    "model.price": Price,
    "model.batch": BatchOptions,
    "limits": Limits,
    "stop": Stop,
    "metrics": Metrics,
    "canary": Canary,
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
        for option, default in option_defaults(getattr(importlib.import_module(module), name)).items():
            if option not in SHARED:
                found.setdefault(f"judge.{option}", default)
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


def test_run_file_page_has_exactly_one_heading_for_every_key() -> None:
    rehearsal = {f"rehearsal.{field.name}" for field in dataclasses.fields(RehearsalConfig)} - {"rehearsal.batch"}
    rehearsal |= {f"rehearsal.batch.{field.name}" for field in dataclasses.fields(BatchConfig)}
    assert sorted(described()) == sorted({*keys(), *rehearsal})
    assert all(len(text.splitlines()) > 2 for text in described().values())


@pytest.mark.parametrize("key", sorted(keys()))
def test_run_file_page_states_the_default_of_every_key(key: str) -> None:
    default = keys()[key]
    stated = re.match(r"\*Default: (.*?)\. On resume", described()[key])
    assert stated is not None
    if default is ...:
        assert stated[1] == "required"
    elif default in (None, (), "") or default == {} or isinstance(default, BaseModel):
        assert stated[1] == "none"
    else:
        assert stated[1] == f"`{json.dumps(default)}`"


def test_run_file_page_names_the_keys_that_the_fingerprint_covers() -> None:
    values: dict[str, Any] = {
        "input": {"shards": ["x"], "id": "a", "keep": ["b"]},
        "judge": {name.partition(".")[2]: "x" for name in keys() if name.startswith("judge.")} | {"dedupe": True},
        "model": {
            "alias": "a", "provider": "p", "dialect": "vllm", "api": "responses", "name": "n", "path": "p",
            "base_url": "u", "base_urls": ["u"], "api_key_env": "K", "api_key_command": ["k"], "headers": {"h": "h"},
            "query": {"q": "q"}, "extra": {"e": 1}, "temperature": 1.0, "max_output_tokens": 1, "reasoning": "low",
            "tier": "flex", "tier_fallback": {"after_s": 1.0}, "mode": "batch", "batch": {"poll_s": 1},
            "timeout_s": 1.0, "retries": 1,
            "endpoints": [{"base_url": "u"}],
            "price": {"input": 1, "output": 1}, "keys": ["k"], "replies": "r", "where": {"w": 1},
        },
        "limits": {"max_tokens": 1},
        "metrics": {"names": ["x"], "response": "x", "reference": "x", "options": {"x": {"o": 1}}},
        "output": {"path": "x", "flush_rows": 1},
    }  # fmt: skip
    covers = covered(Spec.model_validate(values), "the text of prompt_file")
    (model,) = covers["models"]
    assert model.keys() < values["model"].keys()
    fixed = {f"model.{name}" for name in model}
    for section in ("input", "judge", "metrics"):
        fixed |= {f"{section}.{name}" for name in covers[section]}
    fixed |= {"judge.prompt_file"}  # by its text
    named = {key for key, text in described().items() if "On resume: fixed" in text}
    assert named == fixed


# --- the output -------------------------------------------------------------------------------------------------------


def test_output_page_has_every_column_and_error() -> None:
    columns = OUTPUT.partition("\n## Columns\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \| [^|]* \| ([^|]*) \|$", columns, re.MULTILINE)
    types = {name: kind for cell, kind, _ in rows for name in re.findall(r"`([^`]+)`", cell)}
    never = {name for cell, _, null in rows if null == "never" for name in re.findall(r"`([^`]+)`", cell)}
    arrow = {"list<element: string>": "list of string", "list<item: string>": "list of string", "double": "float64"}
    arrow["timestamp[us, tz=UTC]"] = "timestamp[us, UTC]"
    assert [name for name in types if name in {c.name for c in COLUMNS}] == [c.name for c in COLUMNS]
    for column in COLUMNS:
        assert types[column.name] == arrow.get(str(column.type), str(column.type)), column.name
        assert column.nullable or column.name in never, column.name
    for name in ("id", "score_q10", "preference", "verdict", "disagreement", "metric_<name>", "score_<criterion>"):
        assert name in types
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", ERRORS, re.MULTILINE)) == set(ROW_ERRORS)


def test_commands_page_describes_the_json_keys_of_plan_status_and_verify() -> None:
    from scorer.job.estimate import Estimate
    from scorer.output.status import Status
    from scorer.output.verify.folder import Verdict

    def help_text(command: str) -> str:
        return COMMANDS.partition(f"## scorer {command}\n")[2].partition("\n## ")[0]

    shapes: Mapping[str, Any] = {"plan": Estimate, "status": Status, "verify": Verdict}
    for command, shape in shapes.items():
        for field in dataclasses.fields(shape):
            assert f"`{field.name}`" in help_text(command), (command, field.name)


# --- the log and the changelog ----------------------------------------------------------------------------------------


def test_log_entries_have_date_question_setup_result_and_kept_newest_first() -> None:
    entries = re.split(r"^## ", (ROOT / "docs/project/log.md").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) >= 49
    for entry in entries:
        assert re.match(r"\d{4}-\d\d-\d\d: \S", entry), entry[:80]
        parts = re.findall(r"^\*\*(\w+)\.\*\*\s+\S", entry, re.MULTILINE)
        assert parts == ["Question", "Setup", "Result", "Kept"], (entry[:80], parts)
    dates = [entry[:10] for entry in entries]
    assert dates == sorted(dates, reverse=True)


if __name__ == "__main__":
    (ROOT / "docs/reference/commands.md").write_text(with_help(COMMANDS))
    (ROOT / "docs/reference/errors.md").write_text(with_errors(ERRORS))
    (ROOT / "docs/project/architecture.md").write_text(with_layers(with_trees(ARCHITECTURE)))
