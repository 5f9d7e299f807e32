"""Checks that this process may have as many connections open as the run may need."""

from __future__ import annotations

from scorer.build.endpoints import concurrency
from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.processes.file_limit import LEAST, file_limit, raise_file_limit


def check_file_limit(spec: Spec, workers: int) -> None:
    """Raises SpecError where a worker may not have a connection open for each request in flight, named or by default.

    Raises the limit of open files where that is enough: in a notebook no command has done so. "auto" counts as one
    request, for it grows no further than the limit.
    """
    rates = [
        (endpoint.limits, model.provider)
        for model in spec.all_models
        if model.provider != "recorded"
        for endpoint in model.all_endpoints(spec.limits)
    ]
    in_flight = sum(1 if one.concurrency == "auto" else concurrency(one, provider) for one, provider in rates)
    needed = LEAST + -(-in_flight // workers)
    if not rates or needed <= file_limit() or needed <= (allowed := raise_file_limit()):
        return
    which = "limits.concurrency" if len(rates) == 1 else "limits.concurrency of all endpoints"
    by_default = " by default" if all(one.concurrency is None for one, _ in rates) else ""
    each = (allowed - LEAST) * workers // len(rates)
    lower = f", or lower limits.concurrency to at most {each}" if each else ""
    where = " at each endpoint" if each and len(rates) > 1 else ""
    raise SpecError(
        [
            f"{which} = {in_flight}{by_default} needs {needed} open files in a process, and this one may have "
            f"{allowed} (`ulimit -n`). Type `ulimit -n {needed}` before the command{lower}{where}. Where that is "
            "refused, the system or the container sets the limit (`ulimit -Hn`): raise it there."
        ]
    )
