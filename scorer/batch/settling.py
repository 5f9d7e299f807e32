"""Reads the replies in the results of a batch, and the bill of each line. Pure, but for the file of results."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from scorer.batch.model import BatchModel
from scorer.batch.results import Results
from scorer.errors import RowError, SetupError, TransientError
from scorer.limits import Billing, Demand, Outcome
from scorer.output.open_batches import LineBill
from scorer.types import Completion, Message, Provider, Reply, Request
from scorer.usage import Usage

Read = Completion | RowError | TransientError | SetupError
_ANY = Request(messages=(Message("user", ""),))
_FREE = Usage(0, 0)
BUNCH = 500
"""So many bills are one entry of the ledger."""


def read_reply(provider: Provider, request: Request, reply: Reply) -> Read:
    """What a reply to a request says. A refusal after which a provider asks in another form is transient."""
    conversation = provider.converse(request)
    try:
        next(conversation)
        conversation.send(reply)
    except StopIteration as done:
        completion: Completion = done.value
        return completion
    except (RowError, TransientError, SetupError) as error:
        return error
    finally:
        conversation.close()
    return TransientError("the server did not take the form of the request; it is asked in another one")


def outcome_of(model: BatchModel, read: Read, demand: Demand) -> Outcome:
    """What a line of a batch cost. An error line was not executed; a reply without a bill may have been billed."""
    settlement = model.settlement
    if isinstance(read, SetupError):
        return Outcome(Billing.NOTHING)
    if isinstance(read, TransientError):
        return settlement.outcome_of(read, None, demand, too_soon=True)
    if isinstance(read, RowError):
        return settlement.answered(read.usage, None, demand, billed=read.billed)
    return settlement.answered(read.usage, None, demand, billed=True)


def line_bills(model: BatchModel, lines: pa.Table, results: Results | None) -> Iterator[list[LineBill]]:
    """The bills of all lines of a chunk, some at a time. `results` None: nothing was billed. Blocking."""
    worst = zip(lines["tokens"].to_pylist(), lines["pico"].to_pylist(), strict=True)
    bills: list[LineBill] = []
    for line, (tokens, pico) in enumerate(worst):
        bills.append(_bill(model, results, line, tokens, pico))
        if len(bills) == BUNCH:
            yield bills
            bills = []
    if bills:
        yield bills


def _bill(model: BatchModel, results: Results | None, line: int, tokens: int, pico: int) -> LineBill:
    if results is None:
        return LineBill(line, tokens, pico, _FREE)
    found = results.of(line)
    if found is None:  # it may have been executed all the same
        return LineBill(line, tokens, pico, None)
    if found.reply is None:
        return LineBill(line, tokens, pico, _FREE)
    outcome = outcome_of(model, read_reply(model.reader, _ANY, found.reply), Demand(0, 0, tokens, pico))
    if outcome.bill is Billing.NOTHING:
        return LineBill(line, tokens, pico, _FREE)
    if outcome.bill is Billing.UNKNOWN or outcome.usage is None:
        return LineBill(line, tokens, pico, None)
    return LineBill(line, tokens, pico, outcome.usage, outcome.cost_pico or 0)
