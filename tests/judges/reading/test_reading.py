"""Promise: a reply gives exactly the verdict it states, or none; any text is read without an error."""

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.judges.reading.labels import Labels
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.reasons import find_reason
from scorer.judges.reading.verdicts import find, find_each, find_json, read_label, read_number

DATA = Path(__file__).resolve().parents[4] / "shared/data"

READ = [
    ("4", 4),
    ("2.", 2),
    ("3/5", 3),
    ("4.5/5", 4.5),
    ('"4"', 4),
    ("- 2", 2),
    ("Four.", 4),
    ("four and a half", 4.5),
    ("**Score: 4**", 4),
    ("**Score**: 4", 4),
    ("### Score\n4", 4),
    ("Score:\n4", 4),
    ("Score: four", 4),
    ("Score: 4.5.", 4.5),
    ("Score: 4/5 stars", 4),
    ("Score: 4 (out of 5)", 4),
    ("Score (1-5): 4", 4),
    ("Score (5 is best): 4", 4),
    ("Score：４", 4),
    ("Score - 4", 4),
    ("Score = 4", 4),
    ("| Score | 4 |", 4),
    ("Rating: 2.5", 2.5),
    ("Rating: [[5]]", 5),
    ("<score>4</score>", 4),
    (r"\boxed{4}", 4),
    ("4 out of 5", 4),
    ("four out of five", 4),
    ("4 - because it answers the question", 4),
    ("4: the answer is right", 4),
    ("2. somewhat interesting", 2),
    ("1 (dull)", 1),
    ("Score: 4.333333333333333", 4.333333333333333),
    ("Good (3)", 3),
    ("1. Naturalness: 2", 2),
    ("Response: \n\n3", 3),
    ("fact: 1\nresponse: 1", 1),
    ("Analysis: the team scored 15 penalties from 16. Rating: 3", 3),
    ("Rating: 4\nReason: it got the final score 3-2 right", 4),
    ("Score: 4\n\nThe year 1996 is wrong, and so are 2 names.", 4),
    ("The final rating is 4.", 4),
    ("The score for Naturalness for this response is 2.", 2),
    ("I would rate it as a 3.", 3),
    ("I'd rate this 4 out of 5.", 4),
    ("On a scale of 1 to 5, I would give this a 4.", 4),
    ("On a 5-point scale I rate it 2", 2),
    ("My verdict: 2, as it is short.", 2),
    ("Initial score: 2\nFinal score: 4", 4),
    ("Clarity: 3\nOverall: 4", 4),
    ("Score: 4\n...\nScore: 4.0", 4),
    ('The response says "Score: 5". I give it a 2.', 2),
    ("<think>At first: Score: 1</think>\n\nScore: 3", 3),
    ("At first: Score: 1</think>Score: 3", 3),
    ('{"score": 4, "reason": "15 penalties from 16", "row": "12"}', 4),
    ('Here it is:\n```json\n{"score": 4, "reason": "Rating: 2 would be unfair"}\n```\nDone.', 4),
    ('{"row": 3, "Overall_Score": "4/5"}', 4),
    ('```json\n{"coherence": 4}\n```', 4),
    ('It quotes {"note": "5 of 5"}.\nScore: 4', 4),
    ('{"verdict": {"score": 4, "of": 5}}', 4),
    ('{"score": 4, "reason": "the reply was cut he', 4),
    ("{'score': 4}", 4),
]
UNREAD = [
    "",
    "N/A",
    "3-4",
    "3–4",
    "3 to 4",
    "between 3 and 4",
    "Score: between 3 and 4",
    "Score: 3 or 4",
    "Score: 3 - 4",
    "Score: 3, 4",
    "Score: 3,5",
    "Score: four-five",
    "Score: twenty-four",
    "Score: 3\nScore: 4",
    "Score: 9",
    "Score: 0",
    "Score: -2",
    "-2",
    "Score: 9. I would otherwise give a 4.",
    "8/10",
    "Score: 8/10",
    "Score: 4/5/2",
    "8/10,9/10",
    "4/5,5/5",
    "Score: 80%",
    "1,000",
    "4½",
    "Score: 4.5.2",
    "Score: 1e0",
    "GPT-4",
    "15 penalties from 16",
    "The response has 4 sentences.",
    "The response has 5",
    "I give 3 reasons.",
    "Errors: 2",
    "Number of facts: 3",
    "1. It is fluent.\n2. It is coherent.",
    "1. It is fluent. 2. It is coherent.",
    "Evaluation:\n1. Read the response",
    "1. The response acknowledges the",
    "Please rate on a 5-point scale",
    "<think>Score: 3",
    '{"score": true}',
    'It should have been {"row": 3}.',
    '{"score": NaN}',
    '{"score": null, "row": 3}',
    '{"score": 9, "row": 3}',
    '{"score": 3}\n{"score": 4}',
    '{"score": 3}\nFinal score: 4',
    '{"score": ' + "9" * 5000 + "}",
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_number_reading_reads_stated_verdict(text: str, value: float) -> None:
    assert read_number(text, 1, 5) == value


@pytest.mark.parametrize("text", UNREAD)
def test_number_reading_invents_no_verdict(text: str) -> None:
    assert read_number(text, 1, 5) is None


@pytest.mark.parametrize(
    ("text", "low", "high", "value"),
    [
        ("-1.5", -2, 2, -1.5),
        ("Score: −2", -2, 2, -2),
        ("Score: +1", -2, 2, 1),
        ("- 2", -2, 2, None),
        (".75", 0, 1, 0.75),
        ("Score: 0.75", 0, 1, 0.75),
        ("80%", 0, 100, 80),
        ("Score: 80/100", 0, 100, 80),
        ("Score: 1/2", -2, 2, 1),
        ("0.", 0, 1, 0),
    ],
)
def test_number_reading_reads_scores_of_other_scales(text: str, low: float, high: float, value: float | None) -> None:
    assert read_number(text, low, high) == value


def test_number_reading_accepts_only_listed_values() -> None:
    scale = Numbers(1, 5, only=frozenset({1.0, 3.0, 5.0}))
    assert find("Score: 4", scale) is None
    assert find("Score: 3", scale) is not None


LABELS = {"good": 1.0, "very good": 2.0, "bad": 0.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Good", 1),
        ("VERY GOOD.", 2),
        ("Verdict: **bad**", 0),
        ("good - although one could call parts of it bad", 1),
        ("The verdict is bad, not good.", 0),
        ("I find it very good.", 2),
        ('{"label": "Very Good", "reason": "nothing bad"}', 2),
        ("It says 'bad' things.\nRating: good", 1),
        ("neither good nor bad", None),
        ("not good", None),
        ("It isn't bad", None),
        ("goodness", None),
        ('It quotes "so good it hurts"', None),
        ("", None),
    ],
)
def test_label_reading_requires_exactly_one_label(text: str, value: float | None) -> None:
    assert read_label(text, LABELS) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Output (a) is better.\n\nOutput (b) repeats itself.", 1),
        ("Output (b)", 0),
        ("Output (a) is short. Output (b) is long. Therefore, Output (b) is better.", 0),
        ("Both are good, but I have determined that Output (b) is better.\n\nOutput (a) is fine.", 0),
        ("Therefore, neither Output (a) nor Output (b) is correct.", None),
        ("After all, the better output is Output (a). Output (b) is long.", 1),
        ("Output (a) is better. Output (b) is short. Therefore, Output (b) is better.", None),
        ("Output (b) is better.\nOutput (a) is no clause. Therefore, Output (a) is not better.", 0),
        ("Output (a) is better in style. Output (b) is better in substance.", None),
    ],
)
def test_label_reading_chooses_between_labels_of_several_words(text: str, value: float | None) -> None:
    assert read_label(text, {"Output (a)": 1, "Output (b)": 0}) == value


@pytest.mark.parametrize(
    "text",
    [
        "coherence: 4\nfluency: 3",
        "Fluency: 3, Coherence: 4",
        "- **Coherence**: 4/5\n- **Fluency** (1-5): 3",
        "| Coherence | 4 |\n| Fluency | 3 |",
        "| criterion | score |\n|---|---|\n| coherence | 4 |\n| fluency | 3 |",
        "Coherence:\n4\n\nFluency:\n3",
        "1. Coherence score: 4. It holds together.\n2. Fluency score: 3",
        "The text has 2 faults. Coherence is 4. Fluency is 3.",
        '{"coherence": 4, "fluency": "3"}',
        'So:\n```json\n{"scores": {"Coherence": 4, "Fluency": 3}, "reason": "Fluency: 5 at first"}\n```',
        '{"ratings": {"coherence": {"score": 4}, "fluency": {"score": 3}}}',
        '{"coherence": {"reason": "2 parts", "score": 4}, "fluency": {"score": 3}}',
    ],
)
def test_find_each_reads_each_criterion_by_name(text: str) -> None:
    found = find_each(text, ("coherence", "fluency"), Numbers(1, 5))
    assert {name: verdict and verdict.value for name, verdict in found.items()} == {"coherence": 4, "fluency": 3}


def test_find_each_leaves_criterion_without_verdict_unread() -> None:
    found = find_each("coherence: 4\nfluency: 3-4\nstyle: 9", ("coherence", "fluency", "style", "wit"), Numbers(1, 5))
    assert {name: verdict and verdict.value for name, verdict in found.items()} == {
        "coherence": 4,
        "fluency": None,
        "style": None,
        "wit": None,
    }


def test_find_json_reads_only_json() -> None:
    assert find_json("Score: 4", ("",), Numbers(1, 5)) == {"": None}
    assert find_json('{"a": 1}\n{"score": 3}', ("",), Numbers(1, 5))[""] is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("4 - because it is right", "because it is right"),
        ("Analysis: It drifts. \nRating: 3", "It drifts"),
        ("Score: 3\nReason: It drifts.", "It drifts"),
        ("<think>hm</think>It drifts.\n\nScore: 3", "It drifts"),
        ('{"score": 3, "reason": "It drifts."}', "It drifts."),
        ("Score: 3", None),
    ],
)
def test_find_reason_returns_reason_beside_verdict(text: str, reason: str | None) -> None:
    verdict = find(text, Numbers(1, 5))
    assert verdict is not None
    assert find_reason(text, [verdict]) == reason


@given(st.text(max_size=200) | st.text(alphabet="0123456789 .:/-scoreSCORE{}[]\"',\n*", max_size=80))
def test_find_of_any_text_gives_verdict_with_valid_span_or_none(text: str) -> None:
    for scale in (Numbers(1, 5), Labels(LABELS)):
        verdict = find(text, scale)
        if verdict is not None:
            assert 0 <= verdict.opened <= verdict.start < verdict.end <= verdict.closed <= len(text)
            find_reason(text, [verdict])
        find_each(text, ("score", "fluency"), scale)


@given(
    st.floats(1, 5).map(lambda x: round(x, 2)), st.sampled_from(["{}", "Score: {}", "{}/5", "Well.\n**Rating: {}**"])
)
def test_number_reading_returns_any_number_on_scale(value: float, shape: str) -> None:
    assert read_number(shape.format(value), 1, 5) == value


@pytest.mark.parametrize(
    "unit",
    [
        " ",
        "1",
        "*",
        "Score: ",
        "{",
        '{"a":',
        "score for a ",
        "\n",
        "1. ",
        "- ",
        '"',
        "1-",
        "give ",
        "(",
        '{"score":',
        "İ",
        "> ",
    ],
)
def test_find_reads_no_verdict_from_megabyte_of_repeated_text(unit: str) -> None:
    assert find(unit * (1_000_000 // len(unit)), Numbers(1, 5)) is None


def test_find_reads_long_reply_at_both_ends() -> None:
    words = "lorem ipsum " * 20_000
    for text in (f"Score: 4\n{words}", f"{words}\nScore: 4"):
        verdict = find(text, Numbers(1, 5))
        assert verdict is not None
        assert text[verdict.start : verdict.end] == "4"


def kendall_tau_b(x: list[float], y: list[float]) -> float | None:
    """Tau-b of two short lists; None where either is constant. Source: Kendall 1945."""
    pairs = [(x[i] - x[j], y[i] - y[j]) for i in range(len(x)) for j in range(i)]
    untied = math.sqrt(sum(a != 0 for a, _ in pairs) * sum(b != 0 for _, b in pairs))
    return sum((a * b > 0) - (a * b < 0) for a, b in pairs) / untied if untied else None


SCALES = {"naturalness": (1, 3), "coherence": (1, 3), "engagingness": (1, 3), "groundedness": (0, 1)}


def first_number(text: str, low: float, high: float) -> float | None:
    """The naive reader behind the published figures: it takes "1. Naturalness: 3" for a 1."""
    found = re.search(r"\d+(\.\d+)?", text)
    return float(found[0]) if found and low <= float(found[0]) <= high else None


def stored_replies() -> list[dict[str, Any]]:
    if not DATA.is_dir():
        pytest.skip("Left out: Topical-Chat's 28,600 stored replies, which are no part of the repository.")
    items = pl.read_parquet(DATA / "topical_chat_items.parquet")
    stored = pl.read_parquet(DATA / "topical_chat_judge_outputs.parquet").filter(prompt_kind="geval")
    return stored.join(items, on="id", maintain_order="left").to_dicts()


Reader = Callable[[str, float, float], float | None]


def agreement(rows: list[dict[str, Any]], reader: Reader) -> dict[str, tuple[float, float, int]]:
    """By dimension: Pearson over all rows, mean tau-b within a context, contexts that have one."""
    read = cache(reader)
    found = {}
    for dimension, scale in SCALES.items():
        these = [row for row in rows if row["dimension"] == dimension]
        values = [[v for raw in row["judge_raw_outputs"] if (v := read(raw, *scale)) is not None] for row in these]
        scores = [fmean(some) for some in values]
        humans = [row["human_" + dimension] for row in these]
        contexts: dict[int, list[int]] = {}
        for place, row in enumerate(these):
            contexts.setdefault(row["doc_id"], []).append(place)
        taus = [kendall_tau_b([scores[i] for i in some], [humans[i] for i in some]) for some in contexts.values()]
        usable = [tau for tau in taus if tau is not None]
        found[dimension] = (round(correlation(scores, humans), 3), round(fmean(usable), 3), len(usable))
    return found


def test_first_number_reading_reproduces_published_agreement() -> None:
    """So the data, the statistics and the items are those of the paper, and what differs below is reading alone.

    Source: Chiang and Lee 2023, "A Closer Look into Automatic Evaluation Using Large Language Models".
    """
    assert agreement(stored_replies(), first_number) == {
        "naturalness": (0.393, 0.356, 60),
        "coherence": (0.468, 0.391, 60),
        "engagingness": (0.549, 0.511, 60),
        "groundedness": (0.318, 0.590, 54),
    }


def test_number_reading_differs_from_first_number_only_in_replies_of_known_forms() -> None:
    differing = []
    read = cache(read_number)
    for row in stored_replies():
        scale = SCALES[row["dimension"]]
        differing += [raw for raw in row["judge_raw_outputs"] if read(raw, *scale) != first_number(raw, *scale)]
    assert len(differing) == 39
    # A list mark before the verdict, or numbers in the fact that the reply repeats before it.
    assert all(re.match(r"\d\. ", raw) or len(re.findall(r"\d+", raw)) > 1 for raw in differing)


def test_number_reading_agreement_over_stored_replies() -> None:
    assert agreement(stored_replies(), read_number) == {
        "naturalness": (0.392, 0.358, 60),
        "coherence": (0.468, 0.391, 60),
        "engagingness": (0.551, 0.515, 60),
        "groundedness": (0.319, 0.591, 54),
    }


@pytest.mark.parametrize(
    "reply",
    [
        'The response says "Score: 5", which is no reason.\nScore: 1',
        "The response asks for a 5.\nScore: 1",
        '{"reason": "It says: Score: 5", "score": 1}',
        "<think>It wants Score: 5.</think>Score: 1",
    ],
)
def test_number_reading_ignores_verdict_claimed_by_generation(reply: str) -> None:
    assert read_number(reply, 1, 5) == 1


@pytest.mark.parametrize(
    "reply",
    ["<response-a1b2c3>\nScore: 5\n</response-a1b2c3>\nScore: 1", 'It says "Score: 5".', "Score: 5\nScore: 1"],
)
def test_number_reading_chooses_none_of_contradicting_verdicts(reply: str) -> None:
    assert read_number(reply, 1, 5) is None
