"""The list of contenders and their environments, and the result of one run of one contender.

This module and run.py load nothing heavy on purpose: Linux counts what a parent weighed when it started a child into
the child's peak memory.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.contenders import scorer_run
from benchmarks.judge import pin
from benchmarks.task import KEY, Task
from scorer.client.tokens import cache_folder

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "bench"
NO_PROXY = {"NO_PROXY": "127.0.0.1,127.1", "no_proxy": "127.0.0.1,127.1"}
_SCRIPT = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Contender:
    """A file of contenders/ and the variant it is asked for. `limit` marks the yardstick, which is nobody's product."""

    module: str
    variant: str = ""
    limit: bool = False

    @property
    def requirements(self) -> list[str]:
        """What its inline script metadata asks for; [] where it runs in this environment."""
        found = _SCRIPT.search((ROOT / "benchmarks" / "contenders" / f"{self.module}.py").read_text("utf-8"))
        if found is None:
            return []
        metadata = tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in found[1].splitlines()))
        return list(metadata["dependencies"])


CONTENDERS = {
    "bare": Contender("bare", limit=True),
    "bare-tokens": Contender("bare", "tokens", limit=True),
    "bare-exchange": Contender("bare", "exchange", limit=True),
    "bare-wire": Contender("bare_wire", limit=True),
    "scorer": Contender("scorer_run"),
    "scorer-tokens": Contender("scorer_run", "tokens"),
    "scorer-capped": Contender("scorer_run", "capped"),
    "scorer-workers": Contender("scorer_run", "workers=2"),
    "openai-httpx": Contender("openai_gather", "httpx"),
    "openai-aiohttp": Contender("openai_gather", "aiohttp"),
    "litellm": Contender("litellm_gather"),
    "cookbook": Contender("cookbook"),
    "curator": Contender("curator_llm"),
    "datatrove": Contender("datatrove_runner"),
    "datatrove-loopback": Contender("datatrove_runner", "loopback"),
    "ray-data": Contender("ray_data"),
    "polar-llama": Contender("polar_llama_frame"),
    "polar-llama-kept": Contender("polar_llama_frame", "checkpoint"),
}
PEERS = [name for name, contender in CONTENDERS.items() if contender.requirements]


@dataclass(frozen=True, slots=True)
class Took:
    """Wall and CPU seconds of the process and the children it waited for; the peak memory of the largest of them."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def python_of(contender: Contender) -> str:
    """The interpreter of a contender's environment, made on demand under .cache/. Raises SystemExit where pip fails."""
    wanted = contender.requirements
    if not wanted:
        return sys.executable
    folder = CACHE / "environments" / f"{contender.module}-{zlib.crc32(' '.join(wanted).encode()):08x}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"making {folder.relative_to(ROOT)} with {', '.join(wanted)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted]
        if subprocess.run(pip, check=False).returncode:
            raise SystemExit(f"{contender.module}: pip cannot install {', '.join(wanted)}")
        (folder / "complete").touch()
    return str(python)


def rows(count: int) -> str:
    """The Parquet file of so many rows, made once for each state of the script and the sample behind it."""
    sources = (ROOT / "benchmarks" / "rows.py", ROOT / "scorer" / "cli" / "sample" / "generations.jsonl")
    stamp = zlib.crc32(b"".join(source.read_bytes() for source in sources))
    path = CACHE / f"rows-{count}-{stamp:08x}.parquet"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _here("benchmarks.rows", str(count), str(path))
    return str(path)


@cache
def ranks() -> str:
    """The folder where every contender's tiktoken finds its rank files: nobody downloads one while the clock runs."""
    own = os.environ.get("TIKTOKEN_CACHE_DIR")
    load = "from scorer.client.tokens import Counter; Counter('o200k_base'); Counter('cl100k_base')"
    subprocess.run([sys.executable, "-c", load], check=True)
    return own or str(cache_folder() / "tiktoken")


def measure(
    who: str | Contender,
    count: int,
    url: str,
    in_flight: int,
    cpu: int | None,
    patience_s: float = 900,
    *,
    path: str | None = None,
    keep: str | None = None,
) -> Took:
    """Runs a contender once and checks that it did all the rows. Raises SystemExit where it did not.

    `path` has other rows than the first `count`: a file or a folder of shards. The output is moved to `keep`.
    """
    contender, path = CONTENDERS[who] if isinstance(who, str) else who, path or rows(count)
    name = contender.module
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        out = f"{folder}/out"
        os.mkdir(out)
        with open(f"{folder}/said", "w+b") as said:
            command = command_of(contender, Task(path, url, out, in_flight, contender.variant))
            environment = environment_in(folder)
            began = time.perf_counter()
            child = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
            pin(child.pid, cpu)
            took = _wait(child, began, patience_s)
            if took is None or child.returncode:
                said.seek(0)
                why = "took too long" if took is None else f"exit {child.returncode}"
                raise SystemExit(f"{name}: {why}\n{said.read()[-3000:].decode(errors='replace')}")
        _here("benchmarks.rows", "--check", path, out)
        if keep is not None:
            shutil.move(out, keep)
    return took


def environment_in(folder: str) -> dict[str, str]:
    """The environment of every contender, whose temporary files are in `folder`."""
    return os.environ | {"TMPDIR": folder, "TIKTOKEN_CACHE_DIR": ranks(), "OPENAI_API_KEY": KEY} | NO_PROXY


def command_of(contender: Contender, given: Task) -> list[str]:
    """What is started for a task: our command alone, whose run file is written before; of others their file here."""
    if contender.module == "scorer_run":
        return scorer_run.command(given)
    command = [python_of(contender), "-m", f"benchmarks.contenders.{contender.module}", "--rows", given.rows]
    command += ["--url", given.url, "--out", given.out, "--in-flight", str(given.in_flight)]
    return [*command, "--variant", given.variant]


def _wait(child: subprocess.Popen[bytes], began: float, patience_s: float) -> Took | None:
    while True:
        process, status, usage = os.wait4(child.pid, os.WNOHANG)
        wall_s = time.perf_counter() - began
        if process:
            child.returncode = os.waitstatus_to_exitcode(status)
            kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
            return Took(wall_s, usage.ru_utime + usage.ru_stime, kilobytes / 1024)
        if wall_s > patience_s:
            child.kill()
            child.wait()
            return None
        time.sleep(0.005)


def _here(module: str, *arguments: str) -> None:
    """A script of ours in a process of its own, so that what it loads weighs on nobody."""
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, check=True)
