"""A Ray cluster of two nodes on loopback, in child processes; it ends with the block or with this process.

Ray rewrites 127.0.0.1 to the machine's own address unless it believes that no other machine can be reached; so it is
told. A token keeps others out.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CPUS = 2
"""Of each node."""
STARTS = 3
"""So often is a start of Ray tried."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Where the cluster answers, and the process of each node, under which its workers run."""

    address: str
    raylets: tuple[int, ...]

    def workers(self) -> list[list[int]]:
        """The processes of scorer's workers, node by node."""
        from support.command import (
            children,  # not at the top: as a program of its own this file has not the path of the tests
        )

        return [children(raylet, lambda command: command.startswith(b"ray::RayWorker")) for raylet in self.raylets]


PATIENT = {
    "RAY_memory_monitor_refresh_ms": "0",  # else Ray kills workers where other processes take the machine's memory
    "RAY_agent_register_timeout_ms": "120000",  # else a node crashes where its agent takes longer than 15 s to start
}
"""What every Ray needs in its environment on a machine that does other things besides."""


def variables() -> dict[str, str]:
    """What the nodes and every driver need in their environment."""
    return {
        **PATIENT,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
    }


@contextmanager
def two_nodes() -> Iterator[Nodes]:
    """Starts both; os.environ has `variables` already. Again where Ray gave a node up, which it does after 30 s."""
    command = [sys.executable, __file__]
    for _ in range(STARTS):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if (said := next((line for line in process.stdout if line.startswith("{")), None)) is None:
                    continue
                value = json.loads(said)
                yield Nodes(value["address"], tuple(value["raylets"]))
                process.communicate(timeout=120)  # closes stdin
                return
            finally:
                process.kill()
    raise AssertionError(f"Ray did not start in {STARTS} attempts")


def main() -> None:
    from ray.cluster_utils import Cluster

    sizes = {"num_cpus": CPUS, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **sizes})
    nodes = [cluster.head_node, cluster.add_node(**sizes)]
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
