"""The examples of docs/examples/cluster: their scripts run as far as they can without the scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.command import PATIENCE_S, SMALL_STEPS, run_file, scorer, shard, standing, wait_until, whole

from scorer.rehearsal.process import RehearsalProcess

EXAMPLES = Path(__file__).parents[2] / "docs/examples/cluster"
ROWS = 200
GRACE_S = 30.0
"""What Kubernetes gives a pod where its manifest says nothing else."""


def catches_sigterm(process: int) -> bool:
    """Whether it has a handler of its own, by the kernel's word."""
    caught = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line[:6] == "SigCgt")
    return bool(int(caught.split()[1], 16) >> signal.SIGTERM - 1 & 1)


def slurm(folder: Path, scorer_says: str, *, term: bool = False) -> tuple[int, str]:
    """The exit code of the Slurm script, and what it asked `scontrol` for. `scorer_says` is in scorer's place.

    Where `term`, the script gets SIGTERM once scorer has begun and the script has its handler.
    """
    programs = {
        "scontrol": f'if [ "$1" = show ]; then echo n1; echo n2; else echo "$@" >> {folder}/asked; fi',
        "srun": f'echo "$@" > {folder}/srun; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "scorer": scorer_says,
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8"}
    command = ["sh", str(EXAMPLES / "slurm.sh"), "run.toml"]
    with subprocess.Popen(command, env={**os.environ, **job, "PATH": f"{folder}:{os.environ['PATH']}"}) as process:
        if term:
            wait_until((folder / "begun").exists)
            wait_until(lambda: catches_sigterm(process.pid))
            process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=PATIENCE_S)
    asked = folder / "asked"
    return code, asked.read_text() if asked.exists() else ""


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (3, False), (7, True), (130, True), (2, False)])
def test_slurm_script_requeues_what_resumes_and_shows_the_code_of_what_needs_a_person(
    code: int, requeued: bool, tmp_path: Path
) -> None:
    ended, asked = slurm(tmp_path, f"exit {code}")
    assert asked == ("requeue 77\n" if requeued else "")
    assert ended == (0 if requeued else code)
    words = (tmp_path / "srun").read_text().split()
    assert words[:6] == ["ray", "symmetric-run", "--address", "n1:20077", "--min-nodes", "2"]
    assert words[words.index("--") + 1 :][:7] == [
        "scorer",
        "run",
        "run.toml",
        "--engine",
        "ray",
        "--address",
        "n1:20077",
    ]
    assert words[words.index("--workers") + 1] == "16"


@pytest.mark.skipif(sys.platform != "linux", reason="left out: /proc tells who handles a signal")
def test_slurm_script_passes_on_the_signal_before_the_time_limit_and_requeues(tmp_path: Path) -> None:
    waits = f"trap 'exit 130' TERM; touch {tmp_path}/begun; while :; do sleep 0.05; done"
    assert slurm(tmp_path, waits, term=True) == (0, "requeue 77\n")


def test_manifests_are_yaml_whose_commands_and_exit_codes_are_those_of_scorer() -> None:
    from scorer.cli.app import command_line

    job = yaml.safe_load((EXAMPLES / "job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][0] == "run"
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy allows no other
    (codes,) = [
        rule["onExitCodes"]["values"] for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    assert codes == [1, 2, 3, 4, 6, 8]
    service = (EXAMPLES / "scorer@.service").read_text()
    assert f"RestartPreventExitStatus={' '.join(map(str, codes))}" in service
    ray = yaml.safe_load((EXAMPLES / "rayjob.yaml").read_text())
    words = ray["spec"]["entrypoint"].split()
    options = {
        name for argument in command_line(["run"])["run"].assemble_argument_collection() for name in argument.names
    }
    for given in (container["args"], words[1:]):
        assert {word for word in given if word.startswith("--")} <= options
    assert {volume["name"] for volume in pod["volumes"]} == {one["name"] for one in container["volumeMounts"]}


def test_ray_job_has_the_fields_of_kuberay() -> None:
    schema = json.loads(Path(__file__).with_name("rayjob_schema.json").read_text())
    job = yaml.safe_load((EXAMPLES / "rayjob.yaml").read_text())
    check = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in check.iter_errors(job)] == []
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0  # a number is refused by KubeRay
    job["spec"]["ttlSecondsAfterFinish"] = 300
    assert len([*check.iter_errors(job)]) == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="left out: a PID namespace needs root")
def test_pod_that_gets_sigterm_ends_within_its_grace_and_the_next_one_resumes(
    judge: RehearsalProcess, tmp_path: Path
) -> None:
    """Slow: two starts. As process 1 of its namespace, where signals without a handler are lost."""
    judge.configure(latency_median_s=0.5)  # 7 s in all
    shard(tmp_path / "in/a.parquet", ROWS)
    run = run_file(tmp_path, judge.url, **SMALL_STEPS)
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "scorer", "run", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as pod:
        wait_until(lambda: judge.stats()["rows_paid"] >= 40)
        (first,) = Path(f"/proc/{pod.pid}/task/{pod.pid}/children").read_text().split()
        asked_at = time.monotonic()
        os.kill(int(first), signal.SIGTERM)
        _, said = pod.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - asked_at
    assert pod.returncode == 130, said
    assert took_s < GRACE_S
    left = standing(tmp_path)
    assert left is not None
    assert left.scored == judge.stats()["rows_paid"]  # nothing that was paid is lost
    judge.configure(latency_median_s=0.02)
    assert scorer("run", run).code == 0
    whole(tmp_path, ROWS)
    assert judge.stats()["paid_again"] == 0
