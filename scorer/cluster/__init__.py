"""A run's workers as Ray actors: `joined` is on a cluster, `hirer` employs there what `Processes` employs here."""

from scorer.search_path import settle_worker_of_ray

settle_worker_of_ray()  # before anything else is imported: Ray puts the driver's folder first

from scorer.cluster.hiring import hirer  # noqa: E402
from scorer.cluster.joining import joined  # noqa: E402

__all__ = ["hirer", "joined"]
