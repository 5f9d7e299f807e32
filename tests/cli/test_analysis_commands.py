"""What the questions of the command line promise: the contract's JSON, a table for people, a sentence for a mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scorer.api.runs import run
from scorer.cli.app import _exit_code

SYSTEMS = ("ant", "bee", "cat")


def frame() -> pl.DataFrame:
    """Eight items, three systems, two tasks; one score is missing, `noise` goes its own way."""
    rows = [
        {
            "id": f"{item}-{system}",
            "item": f"i{item}",
            "system": SYSTEMS[system],
            "task": "talk" if item < 4 else "news",
            "human": (item * 3 + system * 2) % 5 + 1.0,
            "score": None if (item, system) == (2, 1) else (item * 3 + system * 2) % 5 + 1 + (item % 3) / 4,
            "noise": (item * 7 + system * 5) % 4 + 0.5,
            "text": "word " * ((item + system * 2) % 6 + 1),
            "base": "word " * 3,
            "cost": system * 10,
            "licence": "open" if system else "closed",
            "formed": (item + system) % 3 > 0,
            "preference": [0.0, 0.5, 1.0][(item + system) % 3],
            "rival": SYSTEMS[(system + 1) % 3],
            "swapped": system == 1,
            "mixed": "yes" if system else "no",
        }
        for item in range(8)
        for system in range(3)
    ]
    return pl.DataFrame(rows)


@pytest.fixture
def table(tmp_path: Path) -> str:
    frame().write_parquet(tmp_path / "table.parquet")
    return str(tmp_path / "table.parquet")


def output_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON of a command that succeeds; what it prints for people must not fail either."""
    assert _exit_code(list(arguments)) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert "nan" not in shown.out.lower()
    assert _exit_code([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_agree_prints_json_in_the_shape_of_the_contract(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = output_of(
        "agree", table, "--score", "score", "--score", "noise", "--human", "human", "--item", "item", "--system",
        "system", "--task", "task", "--bootstrap", "50", "--permutations", "20", capsys=capsys,
    )  # fmt: skip
    assert list(found["scores"]) == ["score", "noise"]
    score = found["scores"]["score"]
    assert {"n", "unread", "dataset", "item", "system", "tasks", "pooled"} <= set(score)
    assert (score["n"], score["unread"]) == (23, 1)
    assert {"pearson", "spearman", "kendall", "pairwise_accuracy", "intervals"} <= set(score["dataset"])
    assert {"items", "skipped"} <= set(score["item"])
    assert set(score["tasks"]) == {"talk", "news"}
    assert {"shift", "spread", "n"} <= set(score["tasks"]["talk"])
    low, high = score["dataset"]["intervals"]["pearson"]
    assert low <= score["dataset"]["pearson"] <= high
    assert found["comparisons"][0]["better"] == "score"


def test_agree_shows_a_line_for_each_level(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["agree", table, "--score", "score", "--human", "human", "--item", "item", "--system", "system"]
    assert _exit_code([*asked, "--bootstrap", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "24 rows, 0 of them without a human value"
    assert [line.split("  ")[1] for line in lines[3:6]] == ["all rows", "within items", "over systems"]
    assert any("8 items, 0 skipped" in line for line in lines)


def test_agree_shows_several_people_as_the_ceiling(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = output_of("agree", table, "--score", "score", "--human", "human", "--human", "noise", capsys=capsys)
    assert found["human"]["people"] == ["human", "noise"]
    assert _exit_code(["agree", table, "--score", "score", "--human", "human", "--human", "noise"]) == 0
    assert "(people)" in capsys.readouterr().out


def test_agree_joins_labels_from_their_own_file(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = frame().select("id", gold="human").head(10)
    labels.write_parquet(tmp_path / "labels.parquet")
    asked = ("--score", "score", "--human", "gold", "--labels", str(tmp_path / "labels.parquet"), "--on", "id")
    found = output_of("agree", table, *asked, capsys=capsys)
    assert (found["unlabelled"], found["scores"]["score"]["n"]) == (14, 9)
    assert output_of("estimate", table, *asked, capsys=capsys)["scores"]["score"]["overall"]["labels"] == 9


def test_scale_writes_the_calibrated_table(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new/calibrated.parquet"
    found = output_of(
        "scale", table, "--score", "score", "--score", "noise", "--human", "human", "--task", "task", "--system",
        "system", "--calibrate", "linear", "--item", "item", "-o", str(out), capsys=capsys,
    )["scores"]  # fmt: skip
    assert set(found["score"]["tasks"]) == {"talk", "news"}
    assert found["score"]["calibration"]["labels"] == 23
    calibrated = pl.read_parquet(out)
    assert calibrated.columns[-2:] == ["score_calibrated", "noise_calibrated"]
    assert calibrated["score"].equals(frame()["score"])
    plain = output_of("scale", table, "--score", "score", "--human", "human", "--task", "task", capsys=capsys)
    assert plain["scores"]["score"]["calibration"] is None


def test_bias_shows_every_kind(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = output_of(
        "bias", table, "--score", "score", "--text", "text", "--human", "human", "--own", "ant", "--system", "system",
        "--bootstrap", "50", capsys=capsys,
    )["scores"]["score"]  # fmt: skip
    assert set(found) == {"length", "self_preference"}
    assert (found["self_preference"]["own"], found["self_preference"]["others"]) == (8, 15)
    pairs = str(tmp_path / "pairs.parquet")
    frame().filter(pl.col("system") != "cat").write_parquet(pairs)
    found = output_of(
        "bias", pairs, "--score", "preference", "--text", "text", "--baseline", "base", "--swapped", "swapped",
        "--pair", "item", "--bootstrap", "50", capsys=capsys,
    )["scores"]["preference"]  # fmt: skip
    assert set(found) == {"length", "win_rate", "position"}
    assert found["position"]["pairs"] == 8
    found = output_of(
        "bias", pairs, "--score", "preference", "--text", "text", "--baseline", "base", "--system", "system",
        "--difficulty", "cost", "--bootstrap", "50", capsys=capsys,
    )["scores"]["preference"]  # fmt: skip
    assert set(found["win_rates"]) == {"ant", "bee"}
    assert found["win_rates"]["ant"]["n"] == 8


def test_estimate_shows_each_system(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = output_of("estimate", table, "--score", "score", "--human", "human", "--system", "system", capsys=capsys)
    assert set(found["scores"]["score"]) == {"overall", "systems", "differences"}
    assert len(found["scores"]["score"]["differences"]) == 3


def test_leaderboard_ranks_by_means_and_by_pairs(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = output_of(
        "leaderboard", table, "--score", "score", "--system", "system", "--task", "task", "--average", "cost",
        "--fact", "licence", "--bootstrap", "50", capsys=capsys,
    )["scores"]["score"]  # fmt: skip
    assert {row["system"]: (row["cost"], row["licence"]) for row in found["systems"]}["ant"] == (0, "closed")
    assert len(found["tasks"]) == 6
    facts = str(Path(table).parent / "facts.parquet")
    pl.DataFrame({"system": ["bee", "ant"], "host": ["ours", "theirs"]}).write_parquet(facts)
    found = output_of(
        "leaderboard", table, "--score", "score", "--system", "system", "--fact", "host", "--fact", "licence",
        "--labels", facts, "--on", "system", "--bootstrap", "0", capsys=capsys,
    )["scores"]["score"]  # fmt: skip
    hosts = {row["system"]: (row["host"], row["licence"]) for row in found["systems"]}
    assert hosts == {"ant": ("theirs", "closed"), "bee": ("ours", "open"), "cat": (None, "open")}
    found = output_of(
        "leaderboard", table, "--score", "preference", "--system", "system", "--against", "rival", capsys=capsys
    )["scores"]["preference"]
    assert sum(row["strength"] for row in found["systems"]) == pytest.approx(0)
    assert found["tasks"] is None


def test_compare_shows_the_differences_of_variants(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = output_of(
        "compare", table, "--score", "score", "--variant", "system", "--item", "item", "--task", "task",
        "--well-formed", "formed", "--bootstrap", "50", capsys=capsys,
    )["scores"]["score"]  # fmt: skip
    assert {row["measure"] for row in found["levels"]} == {"score", "well_formed", "score_well_formed"}
    assert {(row["variant"], row["against"]) for row in found["differences"]} == {
        ("bee", "ant"), ("cat", "ant"), ("cat", "bee"),
    }  # fmt: skip


def test_metrics_writes_a_column_for_each_metric(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "scored.parquet")
    asked = ["metrics", table, "-o", out, "--names", "exact_match, words", "--response", "text", "--reference", "base"]
    assert _exit_code(asked) == 0
    assert "words" in capsys.readouterr().out
    assert _exit_code([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 24
    assert found["scored"] == {"exact_match": 24, "words": 24}
    assert pl.read_parquet(out).columns[-2:] == ["metric_exact_match", "metric_words"]


def _metrics(table: str, out: Path, column: str = "text") -> list[str]:
    return ["metrics", table, "-o", str(out), "--names", "words", "--response", column]


@pytest.mark.parametrize("name", ["scored.csv", "scored.JSONL", "scored.parquet"])
def test_metrics_and_scale_write_the_format_that_the_name_ends_in(table: str, tmp_path: Path, name: str) -> None:
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[name.lower().rpartition(".")[2]]
    assert _exit_code(_metrics(table, tmp_path / name)) == 0
    found = read(tmp_path / name)
    assert found.columns == [*frame().columns, "metric_words"]
    assert found["id"].cast(pl.String).to_list() == frame()["id"].cast(pl.String).to_list()
    assert found["metric_words"].null_count() == 0
    asked = ["scale", table, *SCORE_AND_HUMAN, "--task", "task", "--calibrate", "shift", "-o"]
    assert _exit_code([*asked, str(tmp_path / f"scale-{name}")]) == 0
    assert read(tmp_path / f"scale-{name}").columns == [*frame().columns, "score_calibrated"]


def test_a_table_is_not_written_under_a_name_of_another_format(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "listed.parquet"
    frame().select("text", words=pl.col("text").str.split(" ")).write_parquet(listed)
    scale = ["scale", table, *SCORE_AND_HUMAN, "--task", "task", "--calibrate", "shift", "-o", str(tmp_path / "x.txt")]
    for asked, says in [
        (_metrics(table, tmp_path / "x.xlsx"), ".parquet, .csv or .jsonl"),
        (_metrics(str(listed), tmp_path / "x.csv"), "(words). Write .parquet or .jsonl"),
        (scale, ".parquet, .csv or .jsonl"),
    ]:
        assert _exit_code(asked) == 2
        assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))
    assert _exit_code(_metrics(str(listed), tmp_path / "x.jsonl")) == 0
    assert pl.read_ndjson(tmp_path / "x.jsonl")["words"].dtype == pl.List(pl.String)


def test_commands_take_an_output_folder_with_its_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard, replies = tmp_path / "in.parquet", tmp_path / "replies.parquet"
    rows = frame().select("id", "item", "human", response="text")
    rows.write_parquet(shard)
    frame().select("id", reply=pl.col("human").cast(pl.Int64).cast(pl.String)).head(20).write_parquet(replies)
    run(
        {
            "input": {"shards": [str(shard)], "id": "id"},
            "judge": {"prompt": "{response}", "attempts": 1},
            "model": {"provider": "recorded", "path": str(replies), "keys": ["id"], "replies": "reply"},
            "limits": {"max_failed_share": 0.5},
            "output": {"path": str(tmp_path / "out")},
        }
    )
    found = output_of("agree", str(tmp_path / "out"), "--score", "score", "--human", "human", "--item", "item",
                 capsys=capsys)["scores"]["score"]  # fmt: skip
    assert (found["n"], found["unread"]) == (20, 4)
    assert found["dataset"]["pearson"] == pytest.approx(1)
    assert found["labels"]["kappa"] == pytest.approx(1)


ALONE = pl.col("item") == "i0"
SCORE_AND_HUMAN = ["--score", "score", "--human", "human"]


@pytest.mark.parametrize(
    ("asked", "rows", "says"),
    [
        (["agree", "--score", "score", "--human", "mixed"], None, "Column mixed holds String, not numbers"),
        (["agree", "--score", "scrore", "--human", "human"], None, "did you mean score?"),
        (["agree", *SCORE_AND_HUMAN], pl.col("human") == 3, "human is 3 in all"),
        (["agree", *SCORE_AND_HUMAN], pl.col("id") == "0-0", "Rows with a value in human: 1"),
        (["agree", *SCORE_AND_HUMAN, "--on", "id"], None, "give the table of labels, too, with --labels"),
        (["agree", *SCORE_AND_HUMAN, "--bootstrap", "-1"], None, "bootstrap = -1; it must be 0 or more"),
        (["scale", *SCORE_AND_HUMAN, "--task", "task"], ALONE, "names one task only"),
        (["scale", *SCORE_AND_HUMAN, "--task", "task"], pl.col("human") == 3, "human is 3 in all"),
        (["scale", *SCORE_AND_HUMAN, "--task", "task", "-o", "x.parquet"], None, "say how with --calibrate"),
        (["bias", "--score", "score"], None, "No bias is named"),
        (["bias", "--score", "score", "--baseline", "base"], None, "--baseline needs --text"),
        (["bias", "--score", "score", "--swapped", "swapped"], None, "--swapped and --pair belong together"),
        (["bias", "--score", "score", "--own", "ant"], None, "--own needs --system and --human"),
        (["bias", "--score", "score", "--text", "cost"], None, "Column cost holds Int64, not texts"),
        (["estimate", *SCORE_AND_HUMAN], pl.col("id") == "0-0", "needs two labels or more"),
        (["leaderboard", "--score", "score", "--system", "system"], pl.col("score").is_null(), "No row has a value"),
        (["leaderboard", "--score", "noise", "--system", "system", "--fact", "cost", "--against", "rival"], None,
         "--against ranks by pairs alone"),
        (["leaderboard", "--score", "noise", "--system", "system", "--against", "rival"], None, "leaves [0, 1]"),
        (["leaderboard", "--score", "score", "--system", "system", "--labels", "x.parquet", "--on", "system"], None,
         "say with --fact which of its columns"),
        (["bias", "--score", "score", "--format"], None, "--format needs --text"),
        (["bias", "--score", "score", "--text", "text", "--set", "a=1"], None, "give --format, or leave it out"),
        (["bias", "--score", "score", "--text", "text", "--difficulty", "cost"], None, "--difficulty needs --text and"),
        (["bias", "--score", "score", "--text", "text", "--format"], None, "holds no run. --format needs the judge"),
        (["compare", "--score", "score", "--variant", "system"], pl.col("system") == "ant", "holds 1 variant"),
    ],
)  # fmt: skip
def test_commands_refuse_a_bad_table_in_a_sentence(
    asked: list[str], rows: pl.Expr | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "table.parquet")
    whole = frame()
    (whole if rows is None else whole.filter(rows)).write_parquet(path)
    command, *options = asked
    assert _exit_code([command, path, *options]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert not shown.out
    assert "Traceback" not in shown.err


def test_scale_never_overwrites_its_table(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["scale", table, *SCORE_AND_HUMAN, "--task", "task", "--calibrate", "shift", "-o", table]
    assert _exit_code(asked) == 2
    assert "is the table itself, which is never written to" in capsys.readouterr().err
    assert pl.read_parquet(table).equals(frame())


@pytest.mark.parametrize("command", ["agree", "estimate"])
def test_commands_refuse_a_missing_table_in_a_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([command, "no/such.parquet", *SCORE_AND_HUMAN]) == 2
    assert "no/such.parquet is not there" in capsys.readouterr().err


def test_agree_shows_undefined_statistics_as_a_dash_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "table.parquet")
    frame().filter(pl.col("system") == "ant").with_columns(score=pl.lit(3.0)).write_parquet(path)
    asked = ["agree", path, *SCORE_AND_HUMAN, "--item", "item", "--system", "system"]
    found = output_of(*asked, capsys=capsys)["scores"]["score"]
    assert found["dataset"]["pearson"] is None
    assert _exit_code(asked) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "The score is 3 in all 8 rows; no correlation is defined." in shown
    assert "All 8 items have one row; agreement within items needs two or more." in shown
    assert "There is one system only; agreement over systems needs two or more." in shown


def test_failing_commands_print_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    for command, code in ((["agree", "no/such.parquet", *SCORE_AND_HUMAN], 2), (["agree", "--no-such-option"], 2)):
        assert _exit_code([*command, "--json"]) == code
        shown = capsys.readouterr()
        found = json.loads(shown.out)
        assert set(found) == {"error", "exit_code"}
        assert found["exit_code"] == code
        assert found["error"] in shown.err
        assert _exit_code(command) == code
        assert not capsys.readouterr().out


def test_bias_takes_the_preferences_of_a_pairwise_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "pairwise.parquet")
    rows = pl.DataFrame(
        {
            "preference_given": [1.0, 1.0, 1.0, 0.0, None],
            "preference_swapped": [1.0, 0.0, 0.5, 0.0, 1.0],
            "score": [1.0, 0.5, 0.75, 0.0, None],
            "flag": [0, 1, 0, 1, 0],
        }
    )
    rows.write_parquet(path)
    for score in ("preference_given", "score"):
        asked = ("bias", path, "--score", score, "--swapped", "preference_swapped", "--bootstrap", "50")
        found = output_of(*asked, capsys=capsys)["scores"][score]["position"]
        assert (found["pairs"], found["incomplete"], found["same"]) == (4, 1, 0.5)
        assert found["first"] == (0.5 + 1.0 + 0.75 + 0.5) / 4
    assert _exit_code(["bias", path, "--score", "score", "--swapped", "flag"]) == 2
    assert "--swapped and --pair belong together" in capsys.readouterr().err
    assert _exit_code(["bias", path, "--score", "score", "--swapped", "swapt"]) == 2
    assert "Column swapt is not in the table" in capsys.readouterr().err


LONG = {"ant": "Nucleus Decoding, finetuned (p = 0.3)", "bee": "Nucleus Decoding, finetuned (p = 0.5)", "cat": "cat"}
GROUPED = ["--item", "item", "--system", "system"]


@pytest.mark.parametrize(
    "asked",
    [
        ["agree", *SCORE_AND_HUMAN, "--score", "noise", *GROUPED, "--task", "task", "--permutations", "3"],
        ["estimate", "--score", "score", "--human", "gold", *GROUPED],
        ["leaderboard", "--score", "score", *GROUPED, "--task", "task", "--average", "cost", "--fact", "licence"],
        ["compare", "--score", "score", "--variant", "system", "--item", "item", "--well-formed", "formed"],
        ["scale", *SCORE_AND_HUMAN, "--task", "task", "--system", "system", "--calibrate", "shift"],
        ["bias", "--score", "score", "--text", "text", "--human", "human", "--own", LONG["ant"], "--system", "system"],
    ],
    ids=lambda asked: asked[0],
)
def test_answers_fit_the_width_of_the_terminal(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "table.parquet")
    gold = pl.when(pl.col("item") != "i3").then("human")
    frame().with_columns(pl.col("system").replace(LONG), gold=gold).write_parquet(path)
    command, *options = asked
    shown = {}
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert _exit_code([command, path, *options, *(["--bootstrap", "20"] if command in BOOTSTRAPPED else [])]) == 0
        shown[columns] = capsys.readouterr().out
        assert max(map(len, shown[columns].splitlines())) <= int(columns), shown[columns]
    joined = {columns: re.sub(r"\s+", " ", text) for columns, text in shown.items()}
    numbers = {columns: sorted(re.findall(r"-?\d\.\d{3}(?: \[.*?\])?", text)) for columns, text in joined.items()}
    assert numbers["80"] == numbers["200"]
    if command == "compare":
        assert "Nucleus D...(p = 0.3)" in shown["80"]
        assert LONG["ant"] in shown["200"]


BOOTSTRAPPED = ("agree", "leaderboard", "compare", "bias")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_failing_commands_keep_their_exit_code_where_stdout_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert _exit_code(["agree", "no/such.parquet", *SCORE_AND_HUMAN, "--json"]) == 2
    assert "no/such.parquet is not there" in capsys.readouterr().err
