"""The former name of `scorer.types`, `scorer.usage` and `scorer.output.schema`, kept for plug-ins."""

from scorer.output.schema import *  # noqa: F403
from scorer.types import *  # noqa: F403
from scorer.usage import *  # noqa: F403
