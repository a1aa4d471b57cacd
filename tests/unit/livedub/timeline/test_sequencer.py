from __future__ import annotations

import pytest

from livedub.errors import InvalidInputError
from livedub.timeline.sequencer import Outcome, Receipt, Release, Sequencer


def outcomes(releases: list[Release[str]]) -> list[tuple[int, Outcome, str | None]]:
    return [(release.sequence_number, release.outcome, release.item) for release in releases]


def test_answers_leave_in_order_whatever_order_they_came_in():
    sequencer: Sequencer[str] = Sequencer()
    for number in (4, 5, 6):
        sequencer.expect(number, number * 100)

    assert sequencer.offer(6, "six", 10) is Receipt.TAKEN
    assert sequencer.offer(5, "five", 20) is Receipt.TAKEN
    assert sequencer.poll(30) == []
    assert sequencer.offer(4, "four", 40) is Receipt.TAKEN
    assert sequencer.poll(50) == [
        Release(4, 400, Outcome.ON_TIME, "four"),
        Release(5, 500, Outcome.ON_TIME, "five"),
        Release(6, 600, Outcome.ON_TIME, "six"),
    ]
    assert len(sequencer) == 0


def test_a_missing_answer_holds_up_the_next_only_until_its_own_deadline():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(0, 100)
    sequencer.expect(1, 200)
    sequencer.offer(1, "one", 50)

    assert sequencer.next_deadline_ns == 100
    assert sequencer.poll(100) == []
    assert outcomes(sequencer.poll(101)) == [(0, Outcome.MISSING, None), (1, Outcome.ON_TIME, "one")]
    assert sequencer.next_deadline_ns is None


def test_the_deadline_itself_is_in_time():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(0, 100)
    sequencer.offer(0, "zero", 100)

    assert outcomes(sequencer.poll(100)) == [(0, Outcome.ON_TIME, "zero")]


def test_an_answer_after_its_deadline_is_late_even_if_nobody_had_noticed():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(0, 100)

    assert sequencer.offer(0, "zero", 101) is Receipt.TAKEN
    assert outcomes(sequencer.poll(101)) == [(0, Outcome.LATE, "zero")]


def test_an_answer_in_time_that_is_collected_too_late_is_late():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(0, 100)
    sequencer.offer(0, "zero", 10)

    assert outcomes(sequencer.poll(101)) == [(0, Outcome.LATE, "zero")]


def test_an_answer_to_a_number_given_up_comes_back():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(0, 100)
    sequencer.poll(101)

    assert sequencer.offer(0, "zero", 102) is Receipt.SETTLED
    assert sequencer.poll(10**9) == []


def test_the_first_of_two_answers_counts():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(0, 100)
    sequencer.offer(0, "first", 10)

    assert sequencer.offer(0, "second", 11) is Receipt.DUPLICATE
    assert outcomes(sequencer.poll(12)) == [(0, Outcome.ON_TIME, "first")]


def test_none_is_an_answer_too():
    sequencer: Sequencer[None] = Sequencer()
    sequencer.expect(0, 100)
    sequencer.offer(0, None, 10)

    assert sequencer.poll(10) == [Release(0, 100, Outcome.ON_TIME, None)]


def test_an_answer_nobody_asked_for_is_refused():
    assert Sequencer[str]().offer(7, "seven", 0) is Receipt.UNEXPECTED


def test_numbers_and_deadlines_only_rise():
    sequencer: Sequencer[str] = Sequencer()
    sequencer.expect(3, 100)

    with pytest.raises(InvalidInputError, match="sequence_number 3 does not follow 3"):
        sequencer.expect(3, 200)
    with pytest.raises(InvalidInputError, match="deadline_ns 99 of number 4"):
        sequencer.expect(4, 99)
    sequencer.poll(101)
    with pytest.raises(InvalidInputError, match="sequence_number 2 does not follow 3"):
        sequencer.expect(2, 300)
