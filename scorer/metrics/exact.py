"""Exact match of response and reference, and the length of a response in characters and words."""

from __future__ import annotations

from scorer.metrics.protocol import EachPair, EachResponse, Metric


def exact_match() -> Metric:
    """1 where response and reference are equal, character by character, else 0."""
    return EachPair(lambda response, reference: float(response == reference))


def length() -> Metric:
    """Characters of the response, as Unicode code points."""
    return EachResponse(lambda response: float(len(response)))


def words() -> Metric:
    """Words of the response, as white space divides them."""
    return EachResponse(lambda response: float(len(response.split())))
