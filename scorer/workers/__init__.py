"""Several workers on one run: a broker that hands out rows and budget, workers that score, whatever wire between."""

from scorer.workers.broker import Broker
from scorer.workers.worker import Worker

__all__ = ["Broker", "Worker"]
