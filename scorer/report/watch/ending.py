"""How a run ended, as a sentence and an exit code, for its watcher. Pure."""

from __future__ import annotations

import time

from scorer.escapes import printable
from scorer.output.status import Status
from scorer.report.watch.source import Seen

FINISHED = ("complete", "answered", "undecided")
RESUMES = "Finished rows are stored; the same command resumes."


def ending(seen: Seen, found: Status) -> tuple[str, int]:
    """The sentence, and the exit code that the run had, or has to be taken for."""
    s = seen.snapshot
    if found.state in FINISHED and (s is None or s.error is None):
        kind = "The rehearsal" if seen.rehearsal else "The run"
        answer = found.answer["text"] if found.answer is not None and found.state != "complete" else None
        return f"{kind} has ended: {printable(answer) if answer else 'every row is finished.'}", 0
    if s is None:
        return f"The run has ended before its last row; progress.json does not say how. {RESUMES}", 130
    if seen.state == "killed":
        last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(s.updated_at))
        who = f"process {s.pid}" + (f" on {printable(s.host)}" if s.host else "")
        lost = f"The run ended without a word: {who} was killed or its machine went down, last heard of at {last}."
        return f"{lost} {RESUMES}", 130
    if s.error is not None:
        return f"The run was stopped: {printable(s.error)}", s.exit_code or 1
    if seen.state == "interrupted":
        return f"The run was interrupted. {RESUMES}", 130
    return f"The run has ended before its last row ({found.pending:,} are left). {RESUMES}", 130
