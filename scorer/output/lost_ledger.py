"""The least that a run must have cost, where its ledger is missing or holds less than was reported before.

Without this, a lost ledger would mean a full cap again. The result rows have their costs, and progress.json has the
cost of the run a second before its end; the higher of the two is entered. No more is entered as known than they know:
what is missing beyond it was possibly billed. After a crash with a slow disk, progress.json may hold timeouts that the
ledger does not have yet. Neither has the costs of rows that were scored again. Result files are opened only where
something is missing.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from scorer.files.files import Files, read
from scorer.frozen import replace, values
from scorer.output import segments as seg
from scorer.output.counts import count_results
from scorer.output.layout import Layout
from scorer.output.ledger_totals import Totals
from scorer.output.manifest import Manifest
from scorer.output.row_counts import Counts


def with_recovered_costs(
    files: Files, layout: Layout, manifest: Manifest, say: Callable[[str], None]
) -> Callable[[Totals, bool], Totals]:
    """For `Ledger.open`: adds to the ledger's totals what is missing. `say` gets a sentence with the amount."""

    def with_known_costs(held: Totals, found: bool) -> Totals:
        reported = _reported(files, layout)
        below = held.tokens < reported.tokens or held.money_pico < reported.money_pico - 10**6
        if found and not below:
            return held
        rows = _of_rows(files, layout, manifest)
        least = Totals(**{name: max(value, getattr(rows, name)) for name, value in values(reported).items()})
        tokens = max(0, least.tokens - held.tokens)
        pico = max(0, least.money_pico - held.money_pico)
        if not tokens and not pico:
            return held
        known = min(tokens, max(0, least.known_tokens - held.known_tokens))
        completion = min(known, max(0, least.completion_tokens - held.completion_tokens))
        known_pico = min(pico, max(0, least.pico - held.pico))
        why = "holds less than was reported before" if found else "is gone or empty"
        say(
            f"{layout.ledger} {why}: {tokens} tokens and {pico / 10**12:.6f} USD are missing in it, by the stored rows "
            "and by progress.json. They are entered as the least that is known, and count against the caps."
        )
        return replace(
            held,
            requests=max(held.requests, least.requests - held.maybe_requests),
            prompt_tokens=held.prompt_tokens + known - completion,
            completion_tokens=held.completion_tokens + completion,
            cached_tokens=max(held.cached_tokens, least.cached_tokens),
            pico=held.pico + known_pico,
            maybe_requests=max(held.maybe_requests, least.maybe_requests),
            maybe_tokens=held.maybe_tokens + tokens - known,
            maybe_pico=held.maybe_pico + pico - known_pico,
        )

    return with_known_costs


def _reported(files: Files, layout: Layout) -> Totals:
    """The totals of progress.json. Zeros where it cannot be read."""
    try:
        reported = orjson.loads(read(files, layout.progress))
        return Totals(
            requests=int(reported.get("requests", 0)) - int(reported.get("maybe_billed_requests", 0)),
            prompt_tokens=int(reported.get("prompt_tokens", 0)),
            completion_tokens=int(reported.get("completion_tokens", 0)),
            pico=round(reported.get("cost_usd", 0) * 10**12),
            maybe_requests=int(reported.get("maybe_billed_requests", 0)),
            maybe_tokens=int(reported.get("maybe_billed_tokens", 0)),
            maybe_pico=round(reported.get("maybe_billed_usd", 0) * 10**12),
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return Totals()


def stored(files: Files, layout: Layout, manifest: Manifest) -> Counts:
    """The sums of a run's newest results, by their metadata. Files that cannot be read are left out."""
    found = layout.result_files(files)
    total = Counts()
    for shard in manifest.shards:
        try:
            total.add(count_results(files, found, shard))
        except seg.Broken:
            continue
    return total


def _of_rows(files: Files, layout: Layout, manifest: Manifest) -> Totals:
    """The totals of the newest results' own columns."""
    total = stored(files, layout, manifest)
    return Totals(
        requests=total.attempts,
        prompt_tokens=total.prompt_tokens,
        completion_tokens=total.completion_tokens,
        cached_tokens=total.cached_tokens,
        pico=total.cost_microusd * 10**6,
    )
