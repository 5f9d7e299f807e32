"""Several workers on one run: a broker that hands out rows and budget, workers that score, whatever wire between."""

from scorer.crew.broker import Broker
from scorer.crew.worker import Worker

__all__ = ["Broker", "Worker"]
