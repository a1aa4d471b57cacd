"""Live subtitles: valid at any moment, in order, on the output's clock, and never in the stream's way."""

import asyncio
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.dubbing.fragment import DubbingFragment, LanguageDub, Outcome
from livedub.dubbing.live_subtitles import LiveSubtitles
from livedub.dubbing.session import DubbingSession
from livedub.dubbing.virtual import VirtualClock, dub_tracks
from livedub.sts.contract import Target
from livedub.timeline.clock import NS_PER_MS, NS_PER_S
from livedub.timeline.fragmenter import CutReason, FragmentCut
from livedub.timeline.subtitles import read_timing
from tests.unit.livedub.dubbing.programme import bursts, chunks, config
from tests.unit.livedub.dubbing.test_languages import ManyVoices

DELAY_NS = 6 * NS_PER_S
FRENCH = Target(language="fr")


def fragment(number: int, start_s: float, length_s: float = 2.0) -> DubbingFragment:
    start_ns, end_ns = round(start_s * NS_PER_S), round((start_s + length_s) * NS_PER_S)
    return DubbingFragment(
        config=config(more_targets=(FRENCH,)),
        sequence_number=number,
        cut=FragmentCut(start_ns, end_ns, (), CutReason.PAUSE),
        start_position=0,
        end_position=0,
        deadline_ns=0,
        dubs={},
    )


def ducked(language: str, text: str | None) -> LanguageDub:
    """Its text is shown while the source speaks, which here is the whole fragment."""
    return LanguageDub(Target(language=language), text=text, outcome=Outcome(reason="late"), rung="ducked")


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def blocks(path: Path) -> list[tuple[int, int, str]]:
    """Every cue of a file that must be whole WebVTT (milliseconds)."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("WEBVTT\n\n")
    assert text.endswith("\n\n") or text == "WEBVTT\n\n"
    cues: list[tuple[int, int, str]] = []
    for block in text.removeprefix("WEBVTT\n\n").split("\n\n")[:-1]:
        timing, _, words = block.partition("\n")
        times = read_timing(timing)
        assert times is not None, block
        assert words.strip()
        cues.append((times[0] // NS_PER_MS, times[1] // NS_PER_MS, words))
    for (_, end_ms, _), (next_ms, _, _) in pairwise(cues):
        assert end_ms <= next_ms
    assert all(start_ms < end_ms for start_ms, end_ms, _ in cues)
    return cues


async def test_each_language_has_its_file_on_the_outputs_clock(tmp_path: Path):
    settings = config(more_targets=(FRENCH,))
    clock = VirtualClock()
    subtitles = LiveSubtitles(tmp_path / "test", delay_ns=settings.delay_ns)
    session = DubbingSession(settings, ManyVoices(), clock, lambda _: None, on_language=subtitles.tell)
    programme = chunks(bursts((1.0, 2.5), (4.0, 6.0), seconds=9))
    async for _ in dub_tracks(session, clock, settings, programme):
        for language in ("en", "fr"):
            path = tmp_path / "test" / f"{language}.vtt"
            assert not path.exists() or blocks(path)
    await session.aclose()
    subtitles.close()
    for language in ("en", "fr"):
        cues = blocks(tmp_path / "test" / f"{language}.vtt")
        assert [words for _, _, words in cues] == [f"{language} text"] * 2
        assert [start_ms for start_ms, _, _ in cues] == pytest.approx([7_000, 10_000], abs=60)


async def test_a_language_that_was_removed_tells_no_more(tmp_path: Path):
    settings = config(more_targets=(FRENCH,))
    clock = VirtualClock()
    subtitles = LiveSubtitles(tmp_path, delay_ns=settings.delay_ns)
    session = DubbingSession(settings, ManyVoices(), clock, lambda _: None, on_language=subtitles.tell)
    for position, samples in chunks(bursts((1.0, 2.5), seconds=5)):
        session.push(position, samples)
        clock.position = position + len(samples)
        await asyncio.sleep(0)
    await session.settle(5 * 48_000)
    session.reconfigure(config())
    session.render(0, 5 * 48_000)
    await session.aclose()
    subtitles.close()
    assert files_in(tmp_path) == ["en.vtt"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 8), st.integers(1, 30), st.one_of(st.none(), st.text("ab <&>-é\n", max_size=120))
        ),
        max_size=12,
    )
)
def test_whatever_is_told_the_file_stays_valid_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, int, str | None]]
):
    folder = tmp_path_factory.mktemp("vtt")
    subtitles = LiveSubtitles(folder, delay_ns=DELAY_NS)
    for number, tenths, text in told:
        subtitles.tell(fragment(number, number * 1.5, tenths / 10), ducked("en", text))
        if (folder / "en.vtt").exists():
            blocks(folder / "en.vtt")
    subtitles.close()


def test_a_translation_that_comes_late_is_written_unless_a_later_one_stands_there(tmp_path: Path):
    subtitles = LiveSubtitles(tmp_path, delay_ns=DELAY_NS)
    subtitles.tell(fragment(0, 1.0), ducked("en", None))
    subtitles.tell(fragment(0, 1.0), ducked("en", "late"))
    subtitles.tell(fragment(0, 1.0), ducked("en", "told twice"))
    subtitles.tell(fragment(1, 4.0), ducked("en", None))
    subtitles.tell(fragment(2, 7.0), ducked("en", "on time"))
    subtitles.tell(fragment(1, 4.0), ducked("en", "too late"))
    subtitles.close()
    assert blocks(tmp_path / "en.vtt") == [(7_000, 9_000, "late"), (13_000, 15_000, "on time")]


@pytest.mark.parametrize(
    "half_written", ["", "00:00:20.000 --> 00:00:21.0", "00:00:20.000 --> 00:00:21.000\nHal"]
)
def test_a_worker_that_replaces_a_dead_one_goes_on(tmp_path: Path, half_written: str):
    first = LiveSubtitles(tmp_path, delay_ns=DELAY_NS)
    first.tell(fragment(40, 1.0), ducked("en", "before"))
    first.close()
    path = tmp_path / "en.vtt"
    path.write_text(path.read_text() + half_written)
    second = LiveSubtitles(tmp_path, delay_ns=DELAY_NS)
    second.tell(fragment(0, 2.0), ducked("en", "after"))
    second.close()
    assert blocks(path) == [(7_000, 9_000, "before"), (9_000, 10_000, "after")]


def test_a_file_that_is_no_webvtt_begins_anew(tmp_path: Path):
    (tmp_path / "en.vtt").write_text("something else\n\n")
    subtitles = LiveSubtitles(tmp_path, delay_ns=DELAY_NS)
    subtitles.tell(fragment(0, 1.0), ducked("en", "text"))
    subtitles.close()
    assert [words for _, _, words in blocks(tmp_path / "en.vtt")] == ["text"]


def test_a_file_that_cannot_be_written_costs_subtitles_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "en.vtt").mkdir()
    subtitles = LiveSubtitles(tmp_path, delay_ns=DELAY_NS)
    for number in range(3):
        subtitles.tell(fragment(number, number * 3.0), ducked("en", "text"))
        subtitles.tell(fragment(number, number * 3.0), ducked("fr", "texte"))
    subtitles.close()
    subtitles.close()
    assert len(re.findall("cannot be written", caplog.text)) == 1
    assert len(blocks(tmp_path / "fr.vtt")) == 3


def test_a_folder_that_cannot_be_made_costs_subtitles_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "spool").touch()
    subtitles = LiveSubtitles(tmp_path / "spool" / "demo", delay_ns=DELAY_NS)
    for number in range(3):
        subtitles.tell(fragment(number, number * 3.0), ducked("en", "text"))
    subtitles.close()
    assert len(re.findall("cannot be made", caplog.text)) == 1
    assert len(re.findall("cannot be written", caplog.text)) == 1
