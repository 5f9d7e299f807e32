"""Runs the code blocks of a Markdown page in their order, as a reader would, with a simulated judge as the model.

`sh` blocks are commands: those of scorer alone run in this process, others each in a shell. `# exit code 3` at the end
of a line says how it ends. `python` blocks share one namespace. A block with a title is a file of that name; but a
`text` block titled "Output" shows what the block before it printed, where `...` stands for anything.
`<!-- not run: why -->` before a block leaves it out. Of its commands the options are checked.
"""

from __future__ import annotations

import io
import linecache
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scorer.cli.app import _exit_code, command_line

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*\Z")
LONG_AGO = 1_700_000_000
"""When a file of a page was written: a run leaves out a JSON Lines file that changed within the last ten seconds."""
PRICE = "price = { input = 0.15, output = 0.6 }"


@dataclass(frozen=True, slots=True)
class Block:
    """One code block. `not_run` is the reason why it is left out, None where it runs."""

    line: int
    kind: str
    title: str | None
    text: str
    not_run: str | None


def blocks_of(text: str) -> Iterator[Block]:
    """The code blocks of a page that name their language."""
    for found in FENCE.finditer(text):
        reason = NOT_RUN.search(text[: found.start()])
        line = text[: found.start()].count("\n") + 1
        yield Block(line, found[1], found[2], found[3], reason[1] if reason else None)


def commands_of(text: str) -> list[str]:
    """The commands of a `sh` block, each on one line; comments alone on a line are left out."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def at_simulated_judge(text: str, url: str) -> str:
    """A run file, or code that holds one as a dict, with the simulated judge as its model."""
    if '"api_key_env": "OPENAI_API_KEY"' in text:
        return text.replace(
            '"api_key_env": "OPENAI_API_KEY"', f'"base_url": "{url}", "price": {{"input": 1, "output": 1}}'
        )
    before, header, rest = text.partition("[model]\n")
    if not header or url in rest or 'provider = "recorded"' in rest:
        return text
    section, follows = re.match(r"(.*?)(^\[.*)?\Z", rest, re.MULTILINE | re.DOTALL).groups("")  # type: ignore[union-attr]
    gone = r"^#? ?(?:provider|base_urls?|api_key_env|api_key_command|dialect|api|cache|path|keys|replies)\s*=.*\n"
    section = re.sub(gone, "", section, flags=re.MULTILINE)
    named = "" if re.search(r"^name\s*=", section, re.MULTILINE) else 'name = "judge"\n'
    priced = "" if re.search(r"^price\s*=", section, re.MULTILINE) else f"{PRICE}\n"
    return f'{before}{header}base_url = "{url}"\n{named}{priced}{section}{follows}'


@dataclass(slots=True)
class Page:
    """A page whose blocks run in the current folder. `url` is the simulated judge's."""

    name: str
    url: str
    capsys: pytest.CaptureFixture[str]
    setenv: Callable[[str, str], None]
    names: dict[str, Any] = field(default_factory=dict)
    printed: str = ""

    def run(self, blocks: list[Block]) -> None:
        """Runs all blocks; AssertionError names the first line that ends otherwise than the page says."""
        for block in blocks:
            where = f"{self.name}:{block.line}"
            if block.kind == "text" and block.title == "Output":
                self._compare(block, where)
            elif block.not_run is not None:
                check_options(block.text, where)
            elif block.title is not None:
                self._write(block)
            elif block.kind == "sh":
                self._shell(block, where)
            elif block.kind == "python":
                text = at_simulated_judge(block.text, self.url)
                linecache.cache[where] = (len(text), None, text.splitlines(keepends=True), where)  # for inspect
                exec(compile(text, where, "exec"), self.names)
                self.printed = self.capsys.readouterr().out
            self._point()

    def _write(self, block: Block) -> None:
        assert block.title is not None
        path = Path(block.title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        os.utime(path, (LONG_AGO, LONG_AGO))

    def _shell(self, block: Block, where: str) -> None:
        lines = commands_of(block.text)
        self.printed = ""
        for line in lines:
            if not checked_only(line):
                code = self._sh(line) if not_for_this_process(line) else self._command(line)
                wanted = int(found[1]) if (found := re.search(r"# exit code (\d+)", line)) else 0
                assert code == wanted, f"{where}: {line}\nends with {code}\n{self.printed}"
                self._point()

    def _command(self, line: str) -> int:
        line, _, file = re.sub(r"\s+#.*", "", line).partition(" > ")
        arguments = shlex.split(line)[1:]
        if arguments[0] == "rehearse":
            arguments += ["--set", "rehearsal.latency_median_s=0"]
        if (catalogs := sys.modules.get("pyiceberg.catalog")) is not None:  # it reads its variables once a process
            catalogs._ENV_CONFIG = type(catalogs._ENV_CONFIG)()  # type: ignore[attr-defined]
        code = _exit_code(arguments)
        captured = self.capsys.readouterr()
        if file:
            Path(file).write_text(captured.out)
        self.printed += captured.out if code == 0 else captured.out + captured.err
        return code

    def _sh(self, text: str) -> int:
        if found := re.fullmatch(r"export (\w+)=(\S+)", text):
            self.setenv(found[1], os.path.expandvars(found[2]))
            return 0
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        ended = subprocess.run(
            ["sh", "-eu"], input=text, capture_output=True, text=True, timeout=120, env={**os.environ, "PATH": path}
        )
        self.printed += ended.stdout if ended.returncode == 0 else ended.stdout + ended.stderr
        return ended.returncode

    def _point(self) -> None:
        for path in Path().rglob("*.toml"):
            text = path.read_text()
            if (pointed := at_simulated_judge(text, self.url)) != text:
                path.write_text(pointed)

    def _compare(self, block: Block, where: str) -> None:
        """Every line of the block was printed, in this order."""
        pattern = r"\n(?:.*\n)*?".join(
            re.sub(r"(?:\\ )+", r"\\s+", re.escape(line.strip())).replace(r"\.\.\.", ".*")
            for line in block.text.splitlines()
            if line.strip() not in ("", "...")
        )
        shown = "\n".join(line.strip() for line in self.printed.splitlines())
        assert re.search(f"^{pattern}$", shown, re.MULTILINE), (
            f"{where} does not show what was printed:\n{self.printed}"
        )


def not_for_this_process(line: str) -> bool:
    """Whether a shell has to run it: another program, or a redirection."""
    return not checked_only(line) and (
        not line.startswith("scorer ") or bool(set(re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", line)) & set("|<;&$"))
    )


def help_of(command: str) -> str:
    """What `scorer COMMAND --help` prints on a screen of 100 columns."""
    printed = io.StringIO()
    command_line([command]).help_print(
        [command], console=Console(file=printed, width=100, color_system=None, force_terminal=False)
    )
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def check_options(text: str, where: str) -> None:
    """Asserts that the commands of scorer in a block exist, with their options."""
    for line in commands_of(text):
        if line.startswith("scorer "):
            words = shlex.split(line, comments=True)
            options = {word for word in words if word.startswith("--")}
            assert options <= set(re.findall(r"--[a-z-]+", help_of(words[1]))), f"{where}: {line}"


def checked_only(line: str) -> bool:
    """Whether a line is not run but checked: it installs packages, or runs a script of the repository for minutes."""
    words = shlex.split(line, comments=True)
    if words[0].endswith("pip") and words[1:2] == ["install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for extra in re.findall(r"\[([\w,-]+)\]", line):
            assert set(extra.split(",")) <= set(extras), line
        return True
    if words[0].startswith("scripts/"):
        assert os.access(ROOT / words[0], os.X_OK), line
        return True
    return words[:3] == ["python", "-m", "venv"]
