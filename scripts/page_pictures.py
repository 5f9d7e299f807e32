"""Takes docs/images/report*.webp, a report page in Chromium, and charts.svg: python scripts/page_pictures.py

The run is real, its data are made up: 1,200 answers of six systems, human values for a third of them, and stored
replies of a judge that favours long answers a little. Nothing is sent to the network. It takes about 10 s;
scripts/browser installs Chromium.
"""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from playwright.sync_api import Page, sync_playwright

import scorer

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = {"alder-72b": 3.9, "birch-large": 3.75, "cedar-13b": 3.4, "elm-8b": 3.35, "fir-3b": 2.8, "hazel-1b": 2.2}
TASKS = {"summary": 0.2, "dialogue": 0.0, "translation": 0.4, "code": -0.6}
ANSWERS = (
    "The report names three reasons for the delay: a late delivery, two days of rain, and a crane that failed.",
    "Three things delayed the bridge. The steel came late, it rained for two days, and the crane was out of order.",
    "The bridge opens in May. The delay was caused by the weather and, according to the report, by a strike.",
    "Steel was late, it rained, and a crane failed. The opening moved from March to May, at no additional cost.",
)
PROMPT = """Does the answer say what the document says, and nothing else? Rate it from 1 to 5.

{question}

{response}"""
RUN_FILE = f"""
[input]
shards = ["answers.parquet"]
id = "id"
keep = ["model", "task", "question_id", "human"]

[judge]
prompt = '''{PROMPT}'''
scale = [1, 5]
reason = "before"
attempts = 1

[model]
provider = "recorded"
path = "replies.parquet"
keys = ["id"]
replies = "reply"

[output]
path = "september"
"""


def write_run(folder: Path) -> None:
    """The input, the stored replies and the run file."""
    draw = np.random.default_rng(7)
    rows, replies = [], []
    for question in range(200):
        task = list(TASKS)[question % len(TASKS)]
        hard = draw.normal(0, 0.5)
        for system, level in SYSTEMS.items():
            quality = level + TASKS[task] + hard + draw.normal(0, 0.6)
            length = int(draw.integers(1, 5))
            human = float(np.clip(round(quality + draw.normal(0, 0.4)), 1, 5)) if question % 3 == 0 else None
            score = int(np.clip(round(quality + 0.15 * (length - 2) + draw.normal(0, 0.5)), 1, 5))
            key = f"{question:03d}-{system}"
            answer = " ".join(str(draw.choice(ANSWERS)) for _ in range(length))
            asked = f"Summarise the report on the bridge in {2 + question % 3} sentences."
            rows.append(
                {"id": key, "question_id": f"q{question:03d}", "question": asked, "model": system, "task": task}
                | {"response": answer, "human": human}
            )
            verdict = "It leaves out the crane." if score < 3 else "All three reasons are there, and nothing else."
            unread = question % 40 == 0 and system == "hazel-1b"
            replies.append({"id": key, "reply": "I cannot rate this." if unread else f"{verdict}\nScore: {score}"})
    pq.write_table(pa.Table.from_pylist(rows), folder / "answers.parquet")
    pq.write_table(pa.Table.from_pylist(replies), folder / "replies.parquet")
    (folder / "run.toml").write_text(RUN_FILE)


def shot(page: Page, name: str, where: str) -> None:
    """The window, scrolled to an element, as docs/images/NAME.webp: a third of the bytes of a PNG."""
    page.locator(where).first.evaluate("one => one.scrollIntoView()")
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 80})
    (ROOT / f"docs/images/{name}.webp").write_bytes(base64.b64decode(taken["data"]))
    print(f"docs/images/{name}.webp")


def charts() -> None:
    """Three charts of `scorer.plot` side by side, as a notebook shows them."""
    board = scorer.plot.leaderboard("september", system="model", item="question_id")
    agreed = scorer.plot.agreement("september", human="human", item="question_id", system="model")
    people = scorer.plot.judge_against_human("september", human="human")
    path = ROOT / "docs/images/charts.svg"
    ((board & agreed) | people).configure(background="white").save(str(path))
    print(path.relative_to(ROOT))


def main() -> None:
    with tempfile.TemporaryDirectory() as made, sync_playwright() as started:
        os.chdir(made)
        write_run(Path(made))
        scorer.run("run.toml")
        scorer.write_report("september", "report.html", human="human", item="question_id")
        charts()
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 860}, device_scale_factor=1.5)
        page.goto(Path("report.html").absolute().as_uri())
        shot(page, "report", "header")
        page.evaluate("location.hash = '#t=too_high'")
        shot(page, "report-rows", "#rows")
        browser.close()


if __name__ == "__main__":
    main()
