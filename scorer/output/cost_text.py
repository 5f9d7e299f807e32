"""Costs in words, one wording for all commands: USD, or that no price is known."""

from __future__ import annotations

NO_PRICE = "no price is known for this model; add model.price"


def cost_text(usd: float, digits: int = 4, *, priced: bool) -> str:
    """ "1,234.5678 USD"; not `priced`, where the price of a model is unknown, "no price", or what the others cost."""
    known = f"{usd:,.{digits}f} USD"
    if priced:
        return known
    return f"{known} and more (no price)" if usd else "no price"


def cost_sentence(usd: float, digits: int = 4, *, priced: bool) -> str:
    """As `cost_text`, with what to do where the price of a model is unknown."""
    if priced:
        return cost_text(usd, digits, priced=True)
    return f"{usd:,.{digits}f} USD and more: {NO_PRICE}" if usd else f"unknown: {NO_PRICE}"
