"""Several languages of one stream, in virtual time: what each output sends, and what it never notices of another."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.dubbing.fragment import RenderedBlock
from livedub.errors import LivedubError
from livedub.timeline.clock import NS_PER_S
from media_edge.worker.egress import EgressState
from media_edge.worker.flv import TagType
from media_edge.worker.stream import StreamState
from tests.unit.media_edge.worker.world import ClickEncoder, Sent, Source, World

BEGIN_S, END_S, UNTIL_S = 1, 21, 28


def seconds(value: float) -> int:
    return round(value * NS_PER_S)


def world(
    *, tracks: tuple[str, ...] = (), make_encoder: Callable[[int], ClickEncoder] | None = None
) -> World:
    made = World(make_encoder=make_encoder or ClickEncoder)
    made.sources.append(Source(seconds(BEGIN_S), seconds(END_S)))
    made.dubbing.tracks |= dict.fromkeys(tracks, made.dubbing)
    return made


def alone() -> list[Sent]:
    single = world()
    single.run_until(seconds(UNTIL_S))
    return single.sent


def media(sent: list[Sent], kind: TagType) -> dict[int, bytes]:
    """Media tags by time stamp, without headers."""
    return {s.tag.timestamp_ms: s.tag.body for s in sent if s.tag.tag_type == kind and s.tag.body[1] == 1}


def test_outputs_that_begin_together_send_the_same_times_and_pictures():
    many = world(tracks=("fr", "de"))
    many.run_until(seconds(UNTIL_S))
    assert many.sent == alone()
    assert many.others["fr"] == many.sent
    assert many.others["de"] == many.sent


@settings(max_examples=12)
@given(
    added_s=st.integers(0, 240).map(lambda tenths: tenths / 10),
    stays_s=st.integers(0, 150).map(lambda tenths: tenths / 10),
)
def test_a_language_that_comes_and_goes_changes_no_tag_of_the_first(added_s: float, stays_s: float):
    many = world()
    many.run_until(seconds(added_s))
    many.dubbing.tracks["fr"] = many.dubbing
    many.run_until(min(seconds(added_s + stays_s), seconds(UNTIL_S)))
    del many.dubbing.tracks["fr"]
    many.run_until(seconds(UNTIL_S))
    assert many.sent == alone()


def test_a_language_that_is_added_goes_on_at_the_first_ones_times():
    many = world()
    many.run_until(seconds(10))
    many.dubbing.tracks["fr"] = many.dubbing
    many.run_until(seconds(UNTIL_S))
    french = many.others["fr"]
    sound, first_sound = media(french, TagType.AUDIO), media(many.sent, TagType.AUDIO)
    pictures, first_pictures = media(french, TagType.VIDEO), media(many.sent, TagType.VIDEO)
    assert len(sound) > 300
    assert set(sound) < set(first_sound)
    assert len(pictures) > 200
    assert pictures.items() < first_pictures.items()
    # From its beginning on it lacks nothing but what came before its first keyframe.
    first_ms = min(pictures)
    assert set(pictures) == {stamp for stamp in first_pictures if stamp >= first_ms}
    first_ms = min(sound)
    assert set(sound) == {stamp for stamp in first_sound if stamp >= first_ms}


def test_a_language_that_is_removed_plays_out_and_leaves():
    many = world(tracks=("fr",))
    many.run_until(seconds(12))
    del many.dubbing.tracks["fr"]
    many.run_until(seconds(14))
    (french,) = (wire for wire in many.wires if wire.track == "fr")
    assert french.finished
    assert french.closed
    assert [output.track for output in many.stream.outputs(many.now_ns)] == [""]
    many.run_until(seconds(UNTIL_S))
    assert many.sent == alone()


def test_an_output_that_is_refused_and_one_that_is_blocked_do_not_touch_the_first():
    many = world(tracks=("fr", "de"))
    many.other_refusals["fr"] = [(0, seconds(15))]
    many.other_blocks["de"] = [(seconds(8), seconds(UNTIL_S))]
    many.run_until(seconds(12))
    states = {output.track: output.state for output in many.stream.outputs(many.now_ns)}
    assert states[""] is EgressState.LIVE
    assert states["fr"] is EgressState.BACKING_OFF
    assert many.stream.state(many.now_ns) is StreamState.LIVE
    failing = {output.track: output.failing_ns for output in many.stream.outputs(many.now_ns)}
    assert failing[""] == 0
    assert failing["fr"] > 0
    many.run_until(seconds(UNTIL_S))
    assert many.sent == alone()
    french = media(many.others["fr"], TagType.AUDIO)
    assert french.items() < media(many.sent, TagType.AUDIO).items()
    assert len([wire for wire in many.wires if wire.track == "de"]) > 1


class FailingEncoder(ClickEncoder):
    """Fails once, after a while; or stops taking anything in."""

    def __init__(self, start_position: int, *, fails: bool) -> None:
        super().__init__(start_position)
        self._fails = fails
        self._pulls = 0

    def pull(self) -> list[tuple[int, bytes]]:
        self._pulls += 1
        if self._pulls > 60:
            if self._fails:
                raise LivedubError("The AAC encoder failed: scripted.")
            return []
        return super().pull()


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "stands still"])
def test_an_encoder_that_breaks_costs_its_own_output_alone(caplog: pytest.LogCaptureFixture, fails: bool):
    made: list[ClickEncoder] = []

    def make_encoder(position: int) -> ClickEncoder:
        # The second encoder of this world is the French one.
        made.append(FailingEncoder(position, fails=fails) if len(made) == 1 else ClickEncoder(position))
        return made[-1]

    many = world(tracks=("fr",), make_encoder=make_encoder)
    with caplog.at_level(logging.ERROR):
        many.run_until(seconds(UNTIL_S))
    assert many.sent == alone()
    assert len(made) == 3
    assert made[1].closed
    assert "The output in fr failed" in caplog.text
    wires = [wire for wire in many.wires if wire.track == "fr"]
    assert len(wires) == 2
    french, first = media(many.others["fr"], TagType.AUDIO), media(many.sent, TagType.AUDIO)
    assert set(french) < set(first)
    assert max(french) == max(first)


class BrokenTrack:
    """A track whose mixer raises."""

    def render(self, position: int, count: int) -> RenderedBlock:
        raise ZeroDivisionError


def test_a_track_that_raises_costs_its_own_output_alone():
    many = world()
    many.dubbing.tracks["fr"] = BrokenTrack()
    many.run_until(seconds(UNTIL_S))
    assert many.sent == alone()
    (french,) = (output for output in many.stream.outputs(many.now_ns) if output.track == "fr")
    assert french.state is EgressState.BACKING_OFF


def test_a_drain_ends_every_output_and_waits_for_none_that_is_stuck():
    many = world(tracks=("fr", "de"))
    many.other_blocks["de"] = [(seconds(9), seconds(UNTIL_S))]
    many.run_until(seconds(10))
    many.stream.drain(many.now_ns)
    began_ns = many.now_ns
    while many.stream.state(many.now_ns) is not StreamState.ENDED:
        many.run_until(many.now_ns + seconds(0.1))
        assert many.now_ns - began_ns < seconds(7)
    many.stream.close()
    assert all(wire.closed for wire in many.wires)
    assert many.others["fr"] == many.sent


def test_pictures_do_not_pile_up_before_any_output():
    many = world(tracks=("fr", "de"))
    many.other_refusals["fr"] = [(0, seconds(UNTIL_S))]
    single = world()
    for stop_s in range(5, END_S, 3):
        many.run_until(seconds(stop_s))
        single.run_until(seconds(stop_s))
        assert many.video.size_bytes == single.video.size_bytes
