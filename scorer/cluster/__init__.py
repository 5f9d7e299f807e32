"""A run's workers as Ray actors: `joined` is on a cluster, `hirer` employs there what `Processes` employs here."""

from scorer.cluster.hiring import hirer
from scorer.cluster.joining import joined

__all__ = ["hirer", "joined"]
