"""Charts of the analyses for notebooks: `scorer.plot.leaderboard("out", system="model")` and the like. Needs Altair.

Each takes what the function of the same name in scorer takes (a path, output folders, a frame), or its result, and
returns an Altair chart with intervals where the analysis has them. `scorer.plot.style` says how they look.
"""

from scorer.plot.agreement import agreement, judge_against_human
from scorer.plot.choice import choice
from scorer.plot.cost import cost
from scorer.plot.distribution import distribution
from scorer.plot.leaderboard import leaderboard
from scorer.plot.learning_curve import learning_curve
from scorer.plot.scale import scale

__all__ = [
    "agreement",
    "choice",
    "cost",
    "distribution",
    "judge_against_human",
    "leaderboard",
    "learning_curve",
    "scale",
]
