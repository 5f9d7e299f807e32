"""A DAG that scores and then publishes. The run file is $SCORER_RUN_FILE, the output folder $SCORER_OUT.

What an exit code of scorer becomes: where the same command can go on by itself (5, 7, 130) the task fails and Airflow
retries it; a spent budget (3) skips what follows; where somebody has to look (1, 2, 4, 6, 8) no retry helps, so the
task ends with that code as its result, and `look` fails for good.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.exceptions import AirflowFailException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import dag, task

COMMAND = """
scorer run "$SCORER_RUN_FILE" --quiet --log-format json > /dev/null
code=$?
case $code in
  1|2|4|6|8) echo $code ;;
  3) exit 99 ;;
  *) echo $code; exit $code ;;
esac
"""


@dag(schedule="0 2 * * *", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1)
def scores():
    score = BashOperator(
        task_id="score",
        bash_command=COMMAND,
        append_env=True,
        skip_on_exit_code=99,
        retries=3,
        retry_delay=timedelta(minutes=10),
    )

    @task(retries=0)
    def look(code: str) -> None:
        if code != "0":
            raise AirflowFailException(
                f"scorer ended with exit code {code}: see docs/reference/errors.md and the log of score"
            )

    # Sealed shards into a table. Idempotent, so Airflow may repeat it as it likes.
    publish = BashOperator(
        task_id="publish",
        bash_command='scorer publish "$SCORER_OUT" --to "$SCORER_TABLE" --json',
        append_env=True,
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
    look(score.output) >> publish


dag = scores()
