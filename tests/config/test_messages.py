"""Messages about a wrong run file: key, value, allowed values, remedy; all mistakes at once, no secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.command import run_file, shard, toml

from scorer.cli.app import _exit_code
from scorer.config.loader import parse, set_values
from scorer.errors import SpecError

URL = "http://127.0.0.1:9/v1"
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"

ProblemsOf = Callable[..., str]


@pytest.fixture
def problems_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ProblemsOf:
    """What `scorer plan` says of a run file that is wrong in these tables, after exit code 2."""
    shard(tmp_path / "in/a.parquet", 3)

    def of(*sets: str, **tables: Mapping[str, Any]) -> str:
        arguments = [word for text in sets for word in ("--set", text)]
        assert _exit_code(["plan", str(run_file(tmp_path, URL, **tables)), *arguments]) == 2
        said = capsys.readouterr()
        assert not said.out
        assert "Traceback" not in said.err
        return said.err.strip()

    return of


# section, its wrong keys, and the words of the one sentence about them: key and value, what is allowed, what to do
MISTAKES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("input", {"shards": "a.parquet"}, ('input.shards = "a.parquet"', "must be a list [...]")),
    ("input", {"shards": []}, ("input.shards = []", "needs at least 1")),
    (
        "input",
        {"shards": ["ftp://b/*.parquet"]},
        ('input.shards = "ftp://b/*.parquet"', "s3://, gs:// or az:// with a"),
    ),
    ("input", {"idd": "x"}, ('input.idd = "x"', "is not a key", "Did you mean id?", "Known here: id, keep, shards")),
    ("input", {"keep": ["score"]}, ("input.keep", "'score'", "result column", "Rename it")),
    ("judge", {"kind": "ratting"}, ('judge.kind = "ratting"', "Allowed: rating, likelihood", "package.module:Name")),
    ("judge", {"kind": "no.where:Mine"}, ('judge.kind = "no.where:Mine"', "cannot be imported", "in this environment")),
    ("judge", {"scael": [1, 5]}, ("judge.scael = [1,5]", "not an option of kind = 'rating'", "Known: prompt, ")),
    ("judge", {"scale": [5, 1]}, ("judge.scale: [5, 1]", "the lower one first, such as [1, 5]")),
    ("judge", {"read": "numbr"}, ("judge.read: 'numbr'", "allowed are number, label, json, expected")),
    ("judge", {"samples": 0}, ("judge.samples: 0", "a whole number from 1 up is")),
    ("judge", {"prompt": "Rate {response} {"}, ("judge.prompt: a single '{'", "write '{{'")),
    ("judge", {"prompt": "Rate it."}, ("judge.prompt", "holds no {column}")),
    ("judge", {"rubric": "direct"}, ("judge.prompt and judge.rubric", "one of them is allowed")),
    ("judge", {"criteria": ["a", "A"]}, ("judge.criteria", "'A' is there twice", "Remove one")),
    ("judge", {"dedupe": "often"}, ('judge.dedupe = "often"', "must be true or false")),
    (
        "model",
        {"provider": "openia"},
        ('model.provider = "openia"', "Allowed: openai, anthropic, bedrock, embedded, recorded"),
    ),
    ("model", {"base_url": "api.x.com/v1"}, ('model.base_url = "api.x.com/v1"', 'such as "https://')),
    ("model", {"base_url": "http://[::1"}, ('model.base_url = "http://[::1"', 'such as "https://')),
    ("model", {"base_url": "http://:80/v1"}, ('model.base_url = "http://:80/v1"', 'such as "https://')),
    ("model", {"base_url": "http://judge:99999"}, ('model.base_url = "http://judge:99999"', 'such as "https://')),
    ("limits", {"max_tokens": 2**63}, (f"limits.max_tokens = {2**63} must be within 64 bits", f"to {2**63 - 1}.")),
    ("model", {"extra": {"seed": [1, -(2**64)]}}, (f"model.extra.seed[1] = {-(2**64)} must be within 64 bits",)),
    ("limits", {"first_answer_s": -1}, ("limits.first_answer_s = -1", "at least 0")),
    ("model", {"temperature": 3}, ("model.temperature = 3", "must be at most 2")),
    ("model", {"temperature": "warm"}, ('model.temperature = "warm"', "must be a number")),
    ("model", {"reasoning": True}, ("model.reasoning = true", '"none", "minimal", "low"')),
    ("model", {"base_urls": []}, ("model.base_urls = []", "needs at least 1")),
    ("model", {"endpoints": []}, ("model.endpoints", "needs at least 1")),
    ("model", {"api_key_command": []}, ("model.api_key_command", "needs at least 1")),
    ("model", {"extra": {"messages": []}}, ("model.extra.messages would stand in place of every row's prompt",)),
    ("model", {"extra": {"stream": True}}, ("model.extra.stream: replies are read whole", "Take it out")),
    ("model", {"dialect": "vlm"}, ('model.dialect = "vlm"', "must be 'auto', 'openai', 'vllm' or 'llamacpp'")),
    ("model", {"timeout_s": 0}, ("model.timeout_s = 0", "must be greater than 0")),
    ("model", {"retries": 2.5}, ("model.retries = 2.5", "must be a whole number")),
    ("model", {"price": {"input": -1, "output": 1}}, ("model.price.input = -1", "must be at least 0")),
    ("model", {"price": {"input": 1}}, ("model.price.output is missing", "Add it, for example: output = ...")),
    ("model", {"path": "x.gguf"}, ('model.path = "x.gguf"', 'belongs to provider = "embedded"', "take it out")),
    ("model", {"keys": ["id"]}, ("model.keys", 'belongs to provider = "recorded"', "take it out")),
    ("limits", {"requests_per_minut": 9}, ("limits.requests_per_minut = 9", "Did you mean requests_per_minute?")),
    ("limits", {"requests_per_minute": 0}, ("limits.requests_per_minute = 0", "must be greater than 0")),
    ("limits", {"tokens_per_minute": 9, "input_tokens_per_minute": 9}, ("limits.tokens_per_minute = 9", "give only")),
    ("limits", {"concurrency": "lots"}, ('limits.concurrency = "lots"', "must be a whole number or 'auto'")),
    ("limits", {"max_usd": -5}, ("limits.max_usd = -5", "must be greater than 0")),
    ("limits", {"max_failed_share": 5}, ("limits.max_failed_share = 5", "must be at most 1")),
    ("metrics", {"names": ["rogue1"]}, ('metrics.names: "rogue1"', "Allowed: rouge1, rouge2")),
    ("output", {"path": ""}, ('output.path = ""', "must not be empty")),
    ("output", {"path": "a\x00b"}, ('output.path = "a\\u0000b"', "must not hold a NUL character")),
    ("canary", {"shards": ["a"], "human": "h", "share": 1}, ("canary.share = 1", "must be less than 1")),
    *(
        ("output", {"path": root}, (f'output.path = "{root}"', "is the root of this machine's files", '"out"'))
        for root in ("/", "//", "/tmp/..")
    ),
    ("output", {"path": "s3:///out"}, ('output.path = "s3:///out"', "with a bucket and a path")),
    ("output", {"keep_raw": "all"}, ('output.keep_raw = "all"', "must be true or false or 'full'")),
    ("rehearsal", {"fault_50": 0.1}, ("[rehearsal] fault_50", "is not a key")),
    ("limit", {"max_usd": 5}, ('limit = {"max_usd":5}', "is not a key of a run file", "Did you mean limits?")),
]


@pytest.mark.parametrize(("section", "keys", "words"), MISTAKES, ids=[f"{s}.{next(iter(k))}" for s, k, _ in MISTAKES])
def test_message_names_key_value_allowed_values_and_remedy(
    section: str, keys: dict[str, Any], words: tuple[str, ...], problems_of: ProblemsOf
) -> None:
    said = problems_of(**{section: keys})
    assert len(said.splitlines()) == 1
    for word in words:
        assert word in said


def test_messages_report_all_mistakes_of_a_file_at_once(problems_of: ProblemsOf) -> None:
    """The malformed, the contradictory, and what only the judge can see; what is malformed hides nothing else."""
    by_section: dict[str, dict[str, Any]] = {}
    for section, keys, _ in MISTAKES:
        if section != "rehearsal" and not by_section.get(section, {}).keys() & keys:
            by_section.setdefault(section, {}).update(keys)
    by_section["judge"] = {"read": "numbr", "samples": 0, "dedupe": "often"}
    said = problems_of(**by_section).splitlines()
    malformed = [problem for problem in said if "must be" in problem or "is not a key" in problem]
    assert len(said) == len(set(said)) >= 20
    assert len(malformed) >= 10
    for key in ("judge.read", "judge.samples", "judge.dedupe", "model.provider", "model.keys", "limits.concurrency"):
        assert sum(problem.startswith(key) for problem in said) == 1, key


def test_messages_do_not_call_an_invalid_key_missing_too(problems_of: ProblemsOf) -> None:
    assert problems_of("model=5", "limits=5").splitlines() == [
        "model = 5 must be a table.",
        "limits = 5 must be a table.",
    ]
    assert problems_of("model.price=3", "limits.max_usd=1") == "model.price = 3 must be a table."
    assert problems_of("input=3") == "input = 3 must be a table."


def test_messages_for_an_empty_file_name_the_required_keys() -> None:
    spec, problems = parse({})
    assert spec is not None
    assert [problem.partition(" ")[0] for problem in problems] == ["input", "output", "[model]"]


def test_message_asks_for_a_price_where_max_usd_is_set(problems_of: ProblemsOf) -> None:
    said = problems_of('model={name="mine", base_url="http://127.0.0.1:9/v1"}', "limits.max_usd=5")
    assert 'limits.max_usd = 5 needs a price and none is known for "mine"' in said
    assert "model.price = {input = ..., output = ...} in USD per million tokens" in said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"api_key": SECRET}, "Did you mean api_key_env?"),
        ({"api_key_env": SECRET}, "takes the NAME of an environment variable"),
        ({"headers": {"Authorization": f"Bearer {SECRET}"}}, 'Authorization = "${NAME}"'),
        ({"headers": {"X-Mine": SECRET}}, 'X-Mine = "${NAME}"'),
        ({"headers": {"Authorization": [SECRET]}}, "model.headers.Authorization = ... must be text"),
        ({"query": {"key": SECRET}}, 'key = "${NAME}"'),
        ({"base_url": f"https://me:{SECRET}@host/v1"}, "without spaces, user or password"),
        ({"base_url": f"https://host/v1?key={SECRET}"}, "a query goes to model.query"),
        ({"endpoints": [{"base_url": URL, "api_key_env": SECRET}]}, "endpoints[0].api_key_env seems to hold a key"),
        ({"endpoints": [{"base_url": URL, "api_key": SECRET}]}, "endpoints[0].api_key = ... is not a key"),
        ({"temperature": SECRET}, "model.temperature = ... must be a number"),
    ],
)
def test_messages_never_repeat_a_secret(keys: dict[str, Any], words: str, problems_of: ProblemsOf) -> None:
    said = problems_of(model=keys)
    assert words in said
    assert SECRET[8:] not in said


def test_message_about_a_misspelt_table_never_repeats_its_secret(problems_of: ProblemsOf) -> None:
    said = problems_of(modle={"api_key": SECRET}, judge={"reed": f"Bearer {SECRET}"})
    assert "modle = ... is not a key of a run file. Did you mean model?" in said
    assert SECRET[8:] not in said


def test_message_names_a_run_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    assert _exit_code(["plan", str(path)]) == 2
    assert f"{path} does not exist" in capsys.readouterr().err
    assert _exit_code(["plan", str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be read: Is a directory" in capsys.readouterr().err
    path.write_text("[judge]\nscale = 1 to 5\n")
    assert _exit_code(["plan", str(path)]) == 2
    assert f"{path} is not TOML: Expected newline or end of document after a statement (at line 2" in (
        capsys.readouterr().err
    )
    path.write_bytes(b"\xff\xfe")
    assert _exit_code(["plan", str(path)]) == 2
    assert f"{path} is not UTF-8 text (byte 0)" in capsys.readouterr().err


def test_messages_for_wrong_arguments_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], problems_of: ProblemsOf
) -> None:
    assert "--set 'limits.max_usd' is not key.path=value" in problems_of("limits.max_usd")
    assert problems_of("model.headers=5", "model.headers.a=b") == (
        "--set 'model.headers.a=b': model.headers is not a table"
    )
    for arguments in (["plan"], ["plan", "a", "b"], ["plan", "--fast", "a"], ["score"], ["retry", str(tmp_path)]):
        assert _exit_code(arguments) == 2
        said = capsys.readouterr()
        assert not said.out
        assert len(said.err.splitlines()) == 1


def test_message_names_a_shard_without_the_columns_and_those_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    (tmp_path / "in/b.parquet").write_text("no Parquet")
    run = run_file(tmp_path, URL, judge={"prompt": "{question} {answer}"})
    assert _exit_code(["plan", str(run)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "a.parquet has no column 'question', 'answer'" in said[0]
    assert "b.parquet is not a readable Parquet file" in said[1]
    assert "Take it out of input.shards, write it again, or leave it out of the run with --forget" in said[1]


def test_set_option_parses_toml_else_takes_text() -> None:
    tree: dict[str, Any] = {"models": [{"alias": "a"}], "limits": {"max_usd": 1}}
    sets = ["limits.max_usd=2.5", "judge.scale=[1, 10]", "model.name=gpt-4o-mini", "models.0.name=x", "output.path="]
    assert set_values(tree, sets) == {
        "models": [{"alias": "a", "name": "x"}],
        "limits": {"max_usd": 2.5},
        "judge": {"scale": [1, 10]},
        "model": {"name": "gpt-4o-mini"},
        "output": {"path": ""},
    }
    with pytest.raises(SpecError, match="is not key"):
        set_values(tree, ["=3"])


def test_run_file_helper_writes_the_tree_that_it_is_given() -> None:
    assert toml({"a": {"b": [1, {"c": "d"}], "e": True}}) == '[a]\nb = [1, {"c" = "d"}]\ne = true'


@pytest.mark.parametrize("path", ["out", "out/deeper/still"])
def test_message_for_an_output_path_that_is_a_file_has_exit_code_2(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path / "in/a.parquet", 3)
    (tmp_path / "out").write_text("mine")
    run = run_file(tmp_path, URL, output={"path": f"{tmp_path}/{path}"})
    assert _exit_code(["run", str(run)]) == 2
    said = capsys.readouterr().err
    assert f'output.path = "{tmp_path}/{path}" cannot be a folder: {tmp_path}/out is a file.' in said
    assert (tmp_path / "out").read_text() == "mine"
