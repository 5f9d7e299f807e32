"""Learns what a request takes from a token limit: the error of our estimate, and whether output is refunded."""

from __future__ import annotations

from scorer.frozen import dataclass

OUTLIER = 32.0


class TokenEstimateCorrection:
    """The server's prompt tokens divided by our estimate: a ratio of running sums with a horizon of 256 replies.

    A reply with more than `OUTLIER` times the expected tokens counts as `OUTLIER` times, unless the reply before it was
    an outlier too. So one wrong bill slows no request down, and a prompt that a gateway adds is learned from the second
    reply on.
    """

    def __init__(self) -> None:
        self.value = 1.0
        self._billed = self._estimated = 0.0
        self._outlier = False

    def add(self, billed: float, estimated: float) -> None:
        """One reply: its prompt tokens as billed and as estimated. Ignored where either is 0."""
        if estimated > 0 and billed > 0:
            most = OUTLIER * self.value * estimated
            outlier, self._outlier = self._outlier, billed > most
            if not outlier:
                billed = min(billed, most)
            keep = 1 - 1 / 256
            self._billed = self._billed * keep + billed
            self._estimated = self._estimated * keep + estimated
            self.value = self._billed / self._estimated


FEWEST_SUMS = 8
SAME = 2.0
"""A sum that varies by no more tokens than this is constant: servers round what remains."""


@dataclass(frozen=True, slots=True)
class ChargeObservation:
    """What one reply shows of how its request was charged, in tokens.

    `mark` is all that was taken here up to its request, and `taken` what this request took. `remaining` is the reply's
    header. `reserve` (prompt + max output) and `usage` are what either rule charges. `sent_at` is in seconds on the
    loop's clock. `limit` is the server's, None where no header states it.
    """

    mark: float
    taken: float
    remaining: float
    reserve: float
    usage: float
    sent_at: float
    limit: float | None = None


class TokenChargeModel:
    """Whether a provider charges prompt + max output without refund, or the usage: learned from how `remaining` falls.

    Two requests that are sent right after one another differ in `remaining` by what the second was charged, minus the
    refill between them. This needs a server's bucket that is not full. Each such pair votes for the nearer rule. The
    first rule is the safe one. The second is assumed after twelve votes and four fifths of all, and given up below two
    thirds.

    Under the first rule's pace, a bucket that charges the usage stays full, and no pair says anything. But a
    `limit - remaining` below prompt + max output proves a refund. A bucket may also hold less than the limit, such as
    one second's worth. Then, after each request that found it full, `remaining` plus the charge is the bucket's size:
    where requests differ, only the right rule's sum is constant. For requests that are all alike and never close
    together, neither test decides.
    """

    def __init__(self) -> None:
        self.refunds = False
        self._votes = [0, 0]
        self._seen: list[ChargeObservation] = []
        self._fullest = 0.0

    def watch(self, seen: ChargeObservation, rate: float) -> None:
        """Takes one reply. `rate` is the server's limit in tokens a second."""
        self._fullest = max(self._fullest, seen.remaining)
        gap = seen.reserve - seen.usage
        if seen.limit is not None and gap >= 2 and abs(seen.limit - seen.remaining - seen.usage) < gap / 2:
            self._votes[True] += 1
        self._seen.append(seen)
        if len(self._seen) < 24:
            return
        self._seen.sort(key=lambda s: s.mark)
        found_full: list[ChargeObservation] = []
        for before, after in zip(self._seen, self._seen[1:], strict=False):
            if abs(after.mark - after.taken - before.mark) < 1e-6:  # nothing of ours lies between
                refill = rate * (after.sent_at - before.sent_at)
                if before.remaining + refill > self._fullest * 0.98:
                    found_full.append(after)
                else:
                    self._vote(before, after, refill)
        self._vote_by_sums(found_full)
        self._seen.clear()
        by_reserve, by_usage = self._votes
        if by_usage >= 12 and by_usage >= 4 * by_reserve:
            self.refunds = True
        elif 2 * by_reserve > by_usage and by_reserve + by_usage >= 6:
            self.refunds = False
        if sum(self._votes) > 200:  # a provider may change its rule
            self._votes = [votes // 2 for votes in self._votes]

    def _vote(self, before: ChargeObservation, after: ChargeObservation, refill: float) -> None:
        gap = after.reserve - after.usage
        if gap < 2:
            return
        fall = before.remaining - after.remaining + refill
        off_reserve, off_usage = abs(fall - after.reserve), abs(fall - after.usage)
        if min(off_reserve, off_usage) < gap / 2:  # else somebody else's request lies between
            self._votes[off_usage < off_reserve] += 1

    def _vote_by_sums(self, found_full: list[ChargeObservation]) -> None:
        if len(found_full) < FEWEST_SUMS:
            return
        by_reserve, by_usage = (
            max(sums) - min(sums)
            for sums in ([s.remaining + s.reserve for s in found_full], [s.remaining + s.usage for s in found_full])
        )
        if min(by_reserve, by_usage) <= SAME and max(by_reserve, by_usage) >= 3 * SAME:
            self._votes[by_usage < by_reserve] += 3
