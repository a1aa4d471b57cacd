"""The search of the bench that says how many streams a card keeps up with."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.bench_streams_per_card import KEPT, Load, most_streams


def search(capacity: int, most: int) -> tuple[int, list[Load]]:
    async def measure(streams: int) -> Load:
        kept = 1.0 if streams <= capacity else KEPT - 0.01
        return Load(streams, streams, kept, 100.0, 200.0, {})

    loads = asyncio.run(most_streams(measure, most=most))
    return max((load.streams for load in loads if load.kept_up), default=0), loads


@given(capacity=st.integers(0, 300), most=st.integers(1, 256))
def test_the_answer_is_the_capacity_to_a_sixteenth_and_never_more(capacity: int, most: int):
    found, loads = search(capacity, most)
    reachable = min(capacity, most)
    assert found <= reachable
    assert reachable - found <= max(1, reachable // 16)
    assert all(1 <= load.streams <= most for load in loads)


@given(capacity=st.integers(0, 300))
def test_it_measures_few_loads(capacity: int):
    _, loads = search(capacity, 256)
    assert len(loads) <= 14
    assert len({load.streams for load in loads}) == len(loads)
