"""A run's workers as Ray actors: `joined` joins a cluster, `ray_launcher` starts a worker on each node."""

from scorer.processes.search_path import settle_worker_of_ray

settle_worker_of_ray()  # before anything else is imported: Ray puts the driver's folder first

from scorer.workers.ray.cluster import joined  # noqa: E402
from scorer.workers.ray.launcher import ray_launcher  # noqa: E402

__all__ = ["joined", "ray_launcher"]
