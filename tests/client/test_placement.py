"""Placement: least loaded, and requests with one prefix at one endpoint as far as its load allows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from scorer.client.placement import BOUND, chosen
from scorer.types import Prefix


@dataclass
class Place:
    address: str
    requests: int = 0
    weight: float = 1.0

    @property
    def load(self) -> float:
        return (self.requests + 1) / self.weight


def prefix(key: int, *, constant: bool = False) -> Prefix:
    return Prefix(0, 10, key.to_bytes(16, "big"), 5000, constant)


def places(count: int) -> list[Place]:
    return [Place(f"http://10.0.0.{number}:8000/v1") for number in range(count)]


def test_without_a_repeated_prefix_the_least_loaded_takes_the_request() -> None:
    fleet = places(3)
    fleet[0].requests, fleet[1].requests, fleet[2].requests = 4, 2, 9
    assert chosen(fleet) is fleet[1]
    assert chosen(fleet, [prefix(1, constant=True)]) is fleet[1], "all requests have it"
    fleet[0].weight = 10.0
    assert chosen(fleet) is fleet[0]


def test_requests_with_one_prefix_go_to_one_endpoint_and_prefixes_spread() -> None:
    fleet = places(4)
    spread = Counter(chosen(fleet, [prefix(0, constant=True), prefix(key)]).address for key in range(400))
    assert all(chosen(fleet, [prefix(7)]) is chosen(fleet, [prefix(7)]) for _ in range(3))
    assert len(spread) == 4
    assert min(spread.values()) > 60


def test_an_endpoint_that_leaves_moves_only_its_own_prefixes() -> None:
    fleet = places(5)
    before = {key: chosen(fleet, [prefix(key)]) for key in range(200)}
    after = {key: chosen(fleet[1:], [prefix(key)]) for key in range(200)}
    assert all(after[key] is place for key, place in before.items() if place is not fleet[0])


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from([1.0, 2.0, 8.0])), min_size=1, max_size=8), st.integers(0)
)
def test_no_endpoint_beyond_the_bound_gets_a_request(loads: list[tuple[int, float]], key: int) -> None:
    fleet = [Place(str(number), requests, weight) for number, (requests, weight) in enumerate(loads)]
    found = chosen(fleet, [prefix(key % 2**64)])
    mean = sum(place.requests + 1 for place in fleet) / sum(place.weight for place in fleet)
    assert found.load <= BOUND * mean + 1e-9 or len(fleet) == 1
