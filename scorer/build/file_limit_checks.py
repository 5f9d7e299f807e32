"""Checks that this process may have as many connections open as the run file asks for."""

from __future__ import annotations

from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.processes.file_limit import LEAST, file_limit


def check_file_limit(spec: Spec, workers: int) -> None:
    """Raises SpecError where the run file names more requests in flight than a worker may have connections open.

    A number that the run file does not name (`limits.concurrency` unset or "auto") is not checked.
    """
    named = [
        endpoint.limits.concurrency
        for model in spec.all_models
        for endpoint in model.all_endpoints(spec.limits)
        if isinstance(endpoint.limits.concurrency, int) and model.provider != "recorded"
    ]
    allowed = file_limit()
    needed = LEAST + -(-sum(named) // workers)
    if needed <= allowed:
        return
    which = "limits.concurrency" if len(named) == 1 else "limits.concurrency of all endpoints"
    raise SpecError(
        [
            f"{which} = {sum(named)} needs {needed} open files in a process, and this one may have {allowed} "
            f"(`ulimit -n`). Type `ulimit -n {needed}` before the command, or lower limits.concurrency to at most "
            f"{max(1, (allowed - LEAST) * workers)}."
        ]
    )
