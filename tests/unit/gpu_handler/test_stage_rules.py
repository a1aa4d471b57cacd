"""Who goes next, who cannot make it, how large a batch may be, who is to blame: rules without threads or clocks."""

from collections import Counter
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.stage_rules import BatchLimit, CostEstimate, Settled, StageQueue, Ticket, settle

S_NS = 1_000_000_000

tickets = st.lists(
    st.builds(
        Ticket,
        stream=st.sampled_from("abcd"),
        sequence_number=st.integers(0, 9),
        deadline_ns=st.integers(0, 1_000),
    ),
    max_size=30,
)


def queue_of(waiting: Sequence[Ticket]) -> StageQueue[Ticket]:
    queue: StageQueue[Ticket] = StageQueue()
    for ticket in waiting:
        queue.add(ticket)
    return queue


def take_all(queue: StageQueue[Ticket], limit: int) -> list[list[Ticket]]:
    batches: list[list[Ticket]] = []
    while len(queue):
        batches.append(queue.turn(now_ns=0, cost_ns=0, limit=limit).batch)
        assert batches[-1], "a turn that takes nothing never ends"
    return batches


def of_stream(stream: Hashable, waiting: Sequence[Ticket]) -> list[Ticket]:
    return [ticket for ticket in waiting if ticket.stream == stream]


@given(tickets, st.integers(1, 8))
def test_everybody_is_taken_once_in_batches_that_are_not_too_large(waiting: list[Ticket], limit: int):
    batches = take_all(queue_of(waiting), limit)
    assert Counter(id(ticket) for batch in batches for ticket in batch) == Counter(map(id, waiting))
    assert all(len(batch) <= limit for batch in batches)
    assert all(len(batch) == limit for batch in batches[:-1]), "a batch left room for somebody who waited"


@given(tickets, st.integers(1, 8))
def test_a_stream_keeps_its_order(waiting: list[Ticket], limit: int):
    order = [ticket for batch in take_all(queue_of(waiting), limit) for ticket in batch]
    for stream in "abcd":
        places = [(ticket.sequence_number, ticket.arrival) for ticket in of_stream(stream, order)]
        assert places == sorted(places)


@given(tickets)
def test_between_streams_the_earliest_deadline_goes_first(waiting: list[Ticket]):
    left = list(waiting)
    for taken in queue_of(waiting).in_order():
        heads = [
            min(of_stream(stream, left), key=lambda ticket: (ticket.sequence_number, ticket.arrival))
            for stream in {ticket.stream for ticket in left}
        ]
        assert taken.deadline_ns == min(head.deadline_ns for head in heads)
        assert any(taken is head for head in heads)
        left.remove(taken)


@given(tickets, st.integers(0, 500), st.integers(0, 500), st.integers(1, 8), st.integers(1, 3))
def test_only_the_hopeless_are_refused_and_they_at_once(
    waiting: list[Ticket], now_ns: int, cost_ns: int, limit: int, lanes: int
):
    queue = queue_of(waiting)
    turn = queue.turn(now_ns=now_ns, cost_ns=cost_ns, limit=limit, lanes=lanes)
    stays = queue.in_order()
    assert len(turn.batch) + len(turn.hopeless) + len(stays) == len(waiting)
    assert all(ticket.deadline_ns >= now_ns + cost_ns for ticket in turn.batch)
    soonest = now_ns + cost_ns
    latest = now_ns + (len(waiting) // (limit * lanes) + 1) * cost_ns
    assert not [ticket for ticket in stays if ticket.deadline_ns < soonest]
    assert not [ticket for ticket in turn.hopeless if ticket.deadline_ns >= latest]


@given(tickets.filter(bool), st.data(), st.integers(0, 500), st.integers(0, 300), st.integers(1, 8))
def test_who_is_turned_away_at_the_door_would_have_been_refused_in_turn(
    waiting: list[Ticket], data: st.DataObject, free_ns: int, cost_ns: int, at_once: int
):
    queue = queue_of(waiting)
    newest = data.draw(st.sampled_from(waiting))
    hopeless = queue.is_hopeless(newest, free_ns=free_ns, cost_ns=cost_ns, at_once=at_once)
    ahead = queue.in_order().index(newest)
    assert hopeless == (free_ns + (ahead // at_once + 1) * cost_ns > newest.deadline_ns)


@given(tickets.filter(bool), st.data())
def test_who_leaves_is_forgotten(waiting: list[Ticket], data: st.DataObject):
    queue = queue_of(waiting)
    gone = data.draw(st.sampled_from(waiting))
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert len(queue) == len(waiting) - 1
    assert gone not in queue.in_order()
    assert len(queue.drain()) == len(waiting) - 1
    assert queue.earliest_deadline_ns() is None


def test_the_earliest_deadline_of_all_is_known():
    queue = queue_of(
        [Ticket(stream=s, sequence_number=1, deadline_ns=d) for s, d in (("a", 5), ("b", 3), ("a", 1))]
    )
    assert queue.earliest_deadline_ns() == 1


def test_the_estimate_is_the_least_of_the_last_ten_seconds():
    cost = CostEstimate()
    assert cost.least_ns(0) == 0
    cost.observe(1 * S_NS, 400)
    cost.observe(6 * S_NS, 900)
    cost.observe(10 * S_NS, 950)
    assert cost.least_ns(10 * S_NS) == 400
    assert cost.least_ns(12 * S_NS) == 900, "the fast one is more than ten seconds old"


def test_where_nothing_has_ended_for_three_seconds_nothing_is_known():
    cost = CostEstimate()
    cost.observe(0, 6 * S_NS)
    cost.observe(1 * S_NS, 6 * S_NS)
    assert cost.least_ns(4 * S_NS) == 6 * S_NS
    assert cost.least_ns(4 * S_NS + 1) == 0, "else a stage that refuses everything would go on refusing"
    cost.observe(5 * S_NS, 1)
    assert cost.least_ns(5 * S_NS) == 1


def test_one_stall_does_not_raise_the_estimate():
    cost = CostEstimate()
    for number in range(8):
        cost.observe(number, 6_000 if number == 4 else 50)
    assert cost.least_ns(8) == 50
    for number in range(8):
        cost.observe(8 + number, 3_000)
    assert cost.least_ns(16) == 3_000, "only the newest eight count"


@given(st.lists(st.tuples(st.integers(0, 30 * S_NS), st.integers(0, 1_000)), max_size=20), st.data())
def test_the_estimate_is_the_same_however_often_it_is_asked(
    samples: list[tuple[int, int]], data: st.DataObject
):
    asked, fresh = CostEstimate(), CostEstimate()
    samples.sort(key=lambda sample: sample[0])
    for at_ns, duration_ns in samples:
        asked.observe(at_ns, duration_ns)
        fresh.observe(at_ns, duration_ns)
        asked.least_ns(at_ns + data.draw(st.integers(0, S_NS)))
    end_ns = samples[-1][0] + data.draw(st.integers(S_NS, 4 * S_NS)) if samples else 0
    known = bool(samples) and samples[-1][0] >= end_ns - 3 * S_NS
    recent = [duration for at, duration in samples[-8:] if known and at >= end_ns - 10 * S_NS]
    assert asked.least_ns(end_ns) == fresh.least_ns(end_ns) == min(recent, default=0)


def test_a_batch_that_ran_out_of_memory_halves_the_next_ones_for_a_while():
    limit = BatchLimit(16)
    assert limit.current(0) == 16
    limit.ran_out(0, 16)
    assert limit.current(0) == 8
    limit.ran_out(1 * S_NS, 8)
    limit.ran_out(1 * S_NS, 4)
    assert limit.current(60 * S_NS) == 2
    assert limit.current(61 * S_NS) == 4
    assert limit.current(121 * S_NS) == 8
    assert limit.current(10_000 * S_NS) == 16
    limit.ran_out(10_000 * S_NS, 1)
    assert limit.current(10_000 * S_NS) == 1, "a batch is never empty"


class Card:
    """An engine on a card with room for so many items, which some items break."""

    def __init__(self, room: int, poison: frozenset[int] = frozenset()) -> None:
        self.room = room
        self.poison = poison
        self.calls: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[str]:
        self.calls.append(list(items))
        if len(items) > self.room:
            raise RuntimeError("CUDA out of memory")
        if self.poison & set(items):
            raise ValueError("poison")
        return [f"<{item}>" for item in items]


def out_of_memory(error: BaseException) -> bool:
    return "out of memory" in str(error)


def outcomes(settled: Sequence[Settled[str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in settled:
        answers = [str(part.error)] if part.error else list(part.results)
        for index, answer in zip(part.indices, answers, strict=True):
            assert index not in found, "answered twice"
            found[index] = answer
    return found


@given(st.integers(1, 20), st.integers(1, 20), st.frozensets(st.integers(0, 19)))
def test_nothing_is_lost_or_doubled_and_only_the_guilty_pay(count: int, room: int, poison: frozenset[int]):
    card = Card(room, poison)
    ran_out: list[int] = []
    found = outcomes(
        list(settle(card, range(count), out_of_memory=out_of_memory, on_out_of_memory=ran_out.append))
    )
    assert found == {item: "poison" if item in poison else f"<{item}>" for item in range(count)}
    assert ran_out == [len(call) for call in card.calls if len(call) > room]
    answered = [item for call in card.calls if len(call) <= room and not poison & set(call) for item in call]
    assert len(answered) == len(set(answered)), "computed twice with success"


def test_memory_that_never_suffices_is_the_item_s_own_error():
    found = outcomes(list(settle(Card(0), range(3), out_of_memory=out_of_memory)))
    assert found == dict.fromkeys(range(3), "CUDA out of memory")


def test_who_left_meanwhile_is_not_tried_again():
    card = Card(20, frozenset({2}))
    settled = list(settle(card, range(5), out_of_memory=out_of_memory, dropped={0, 2}.__contains__))
    assert set(outcomes(settled)) == {1, 3, 4}
    assert card.calls == [[0, 1, 2, 3, 4], [1], [3], [4]]


@pytest.mark.parametrize("answers", [[], ["one", "two", "three"]])
def test_an_engine_that_answers_too_few_or_too_many_is_found_out(answers: list[str]):
    (settled,) = settle(lambda _: answers, ["item"], out_of_memory=out_of_memory)
    assert settled.error is not None
    assert "of 1 items" in str(settled.error)
