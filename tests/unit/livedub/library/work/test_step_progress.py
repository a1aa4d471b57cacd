"""Progress of steps within the job's, reported and asked for at a bounded rate."""

import pytest

from livedub.library.work.step_progress import ASK_EVERY_S, REPORT_EVERY_S, StepProgress
from livedub.library.work.work_ports import JobCancelledError
from tests.unit.livedub.library.work.work_rig import Watched


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_step_of_a_step_reports_its_share_of_the_job():
    heard, clock = Watched(), Clock()
    step = StepProgress(heard, clock=clock).part(0.2, 0.6).part(0.5, 1.0)
    step.tick(0.5)
    assert heard.fractions == [pytest.approx(0.5)]


def test_steps_share_one_rate_of_reports():
    heard, clock = Watched(), Clock()
    whole = StepProgress(heard, clock=clock)
    for part in range(100):
        whole.part(part / 100, (part + 1) / 100).tick(1)
        clock.now_s += REPORT_EVERY_S / 10
    assert len(heard.fractions) == 10
    assert heard.fractions == sorted(heard.fractions)


def test_progress_never_falls_and_stays_within_the_job():
    heard, clock = Watched(), Clock()
    whole = StepProgress(heard, clock=clock)
    for fraction in (0.5, 0.1, 7.0, -1.0):
        whole.tick(fraction)
        clock.now_s += REPORT_EVERY_S
    assert heard.fractions == [0.5, 0.5, 1.0, 1.0]


def test_whether_to_stop_is_asked_at_a_bounded_rate():
    asked: list[float] = []
    clock = Clock()

    def cancelled() -> bool:
        asked.append(clock.now_s)
        return len(asked) == 3

    step = StepProgress(Watched(cancelled), clock=clock)
    for _ in range(8):
        step.tick(0)
        clock.now_s += ASK_EVERY_S / 4
    with pytest.raises(JobCancelledError):
        step.tick(0)
    assert asked == [100.0, 100.0 + ASK_EVERY_S, 100.0 + 2 * ASK_EVERY_S]


def test_a_transfer_of_nothing_is_done():
    heard = Watched()
    StepProgress(heard).transferred(0, 0)
    assert heard.fractions == [1.0]
