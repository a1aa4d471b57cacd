"""The loop, with journal, clock and AWS played: nothing is lost, and the place moves only after a delivery."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.host_logs.delivery import Delivery, LogsUnavailableError
from livedub.host_logs.journal_entry import EventMaker
from livedub.host_logs.log_event import LogEvent
from livedub.host_logs.place_file import PlaceFile
from livedub.host_logs.shipping import Shipping
from livedub.host_logs.stop_request import StopRequest


class PlayedStop(StopRequest):
    """Asked for by the test, or by its patience: what fails for ever ends, too."""

    def __init__(self, world: "World") -> None:
        self.asked = False
        self._world = world
        self._waits_left = 30

    def wait(self, seconds: float) -> bool:
        self._world.now += seconds
        self._waits_left -= 1
        self.asked = self.asked or not self._waits_left
        return self.asked


class World:
    """A journal of `size` lines that is read in steps, time that only passes in it, and an AWS that fails when told to."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.lines = [
            json.dumps(
                {
                    "__CURSOR": f"c{number}",
                    "__REALTIME_TIMESTAMP": f"{number}000",
                    "MESSAGE": f"line {number}",
                }
            ).encode()
            for number in range(size)
        ]
        self.now = 0.0
        self.opened: list[str] = []
        self.stored: list[str] = []
        self.samples = 0
        self.steps: Iterator[int] = iter(())
        self.fails: Callable[[], bool] = lambda: False
        self.refuses: set[str] = set()
        self.journal_ends = False
        self.stop = PlayedStop(self)
        self._at = 0

    def open(self, cursor: str) -> None:
        self.opened.append(cursor)
        self._at = int(cursor[1:]) + 1 if cursor and cursor not in self.refuses else 0
        self._refused = cursor in self.refuses

    def read(self, seconds: float) -> Sequence[bytes] | None:
        self.now += seconds
        if self._refused:
            return None
        step = next(self.steps, None)
        if step is None:
            if self.journal_ends:
                return None
            self.stop.asked = True
            return []
        taken = self.lines[self._at : self._at + step]
        self._at += len(taken)
        return taken

    def close(self) -> None:
        self._at = 0

    def put(self, events: Sequence[LogEvent]) -> None:
        if self.fails():
            raise LogsUnavailableError("no.")
        self.stored += [json.loads(event.message)["message"] for event in events]

    def sample(self) -> LogEvent:
        self.samples += 1
        return LogEvent.of(int(self.now * 1_000), '{"message": "sample"}')

    def shipping(self) -> Shipping:
        self.stop = PlayedStop(self)
        return Shipping(
            journal=self,
            delivery=Delivery(self, self.stop.wait, portion=lambda: 1.0),
            place=PlaceFile(self.folder / "state" / "place"),
            maker=EventMaker("i-1"),
            sample=self.sample,
            stop=self.stop,
            clock=lambda: self.now,
        )

    @property
    def place(self) -> str:
        return PlaceFile(self.folder / "state" / "place").cursor

    @property
    def stored_lines(self) -> list[str]:
        return [line for line in self.stored if line != "sample"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, 10)


def test_every_line_is_delivered_in_order_and_the_place_is_kept(world: World):
    world.steps = iter([3, 0, 4, 3])
    world.shipping().run()
    assert world.stored_lines == [f"line {number}" for number in range(10)]
    assert world.place == "c9"
    assert world.opened == [""]


def test_another_start_goes_on_where_the_last_one_was(world: World):
    world.steps = iter([4])
    world.shipping().run()
    world.steps = iter([6])
    world.shipping().run()
    assert world.opened == ["", "c3"]
    assert world.stored_lines == [f"line {number}" for number in range(10)]


def test_what_could_not_be_delivered_is_sent_by_the_next_start(world: World):
    world.steps = iter([4])
    world.fails = lambda: True
    world.shipping().run()
    assert (world.stored, world.place) == ([], "")
    world.fails = lambda: False
    world.steps = iter([10])
    world.shipping().run()
    assert world.stored_lines == [f"line {number}" for number in range(10)]


@settings(max_examples=60)
@given(data=st.data())
def test_no_line_is_ever_missing_however_often_it_fails_and_starts(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
):
    world = World(tmp_path_factory.mktemp("world"), 12)
    outcomes = st.booleans()
    for _ in range(data.draw(st.integers(0, 4))):
        world.steps = iter(data.draw(st.lists(st.integers(0, 4), max_size=5)))
        world.journal_ends = False
        world.fails = lambda: data.draw(outcomes)
        world.shipping().run()
        upto = int(world.place[1:]) + 1 if world.place else 0
        assert {f"line {number}" for number in range(upto)} <= set(world.stored_lines)
    world.fails = lambda: False
    world.steps = iter([12])
    world.shipping().run()
    assert set(world.stored_lines) == {f"line {number}" for number in range(12)}


def test_disks_and_memory_are_looked_at_every_minute_and_an_outage_is_not_made_up_for(world: World):
    world.steps = iter([0] * 200)
    world.shipping().run()
    assert world.samples == pytest.approx(world.now / 60, abs=2)
    outage = iter([True] * 20)
    world.samples, world.now, before = 0, 0.0, world.now
    assert before > 600
    world.fails = lambda: next(outage, False)
    world.steps = iter([0] * 4)
    world.shipping().run()
    assert world.now > 600
    assert world.samples <= 4


def test_a_journalctl_that_ends_is_started_again_from_the_place(world: World):
    world.steps = iter([3])
    world.journal_ends = True
    opened: list[str] = []

    def again(cursor: str) -> None:
        opened.append(cursor)
        World.open(world, cursor)
        if len(opened) == 2:
            world.journal_ends = False
            world.steps = iter([7])

    world.open = again
    world.shipping().run()
    assert opened == ["", "c2"]
    assert world.stored_lines == [f"line {number}" for number in range(10)]


def test_a_place_that_the_journal_refuses_is_given_up(world: World):
    PlaceFile(world.folder / "state" / "place").save("c77")
    world.refuses = {"c77"}
    world.steps = iter([10])
    world.shipping().run()
    assert world.opened == ["c77", "c77", "c77", ""]
    assert world.stored_lines == [f"line {number}" for number in range(10)]
    assert world.place == "c9"


def test_a_refused_place_does_not_come_back_with_the_next_delivery(world: World):
    PlaceFile(world.folder / "state" / "place").save("c77")
    world.refuses = {"c77"}
    # Nothing is said for minutes, in which how full the host is is delivered; then journalctl ends.
    world.steps = iter([0] * 9)
    world.journal_ends = True
    world.shipping().run()
    assert world.samples > 1
    assert set(world.opened[3:]) == {""}


def test_nothing_moves_the_place_past_what_was_given_up(world: World):
    # Days apart: each line is a batch of its own.
    world.lines = [
        json.dumps(
            {
                "__CURSOR": f"c{number}",
                "__REALTIME_TIMESTAMP": str(number * 200_000_000_000),
                "MESSAGE": f"line {number}",
            }
        ).encode()
        for number in range(4)
    ]
    failures = iter([True])
    world.fails = lambda: next(failures, False)
    reads = iter([[], world.lines])

    def read(seconds: float) -> Sequence[bytes]:
        world.now += seconds
        world.stop.asked = True
        return next(reads, [])

    world.read = read
    world.shipping().run()
    assert world.stored_lines == []
    assert world.place == ""


@pytest.mark.parametrize("text", ["", "\n", "a b", "ä", "c" * 600])
def test_a_place_that_is_none_is_not_used(tmp_path: Path, text: str):
    (tmp_path / "place").write_text(text)
    assert PlaceFile(tmp_path / "place").cursor == ""


def test_a_place_that_cannot_be_kept_costs_nothing_but_lines_that_come_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").touch()
    place = PlaceFile(tmp_path / "file" / "place")
    place.save("c1")
    place.save("c2")
    assert place.cursor == "c2"
    assert len(caplog.records) == 1
