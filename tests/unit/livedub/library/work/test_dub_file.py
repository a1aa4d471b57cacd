"""Dubbing files in ranges: the same bytes in one process and by many hosts, and honest about what failed."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from livedub.audio.pcm import Samples
from livedub.library.library_errors import LibraryError, LibraryErrorCode, MissingKeyError
from livedub.library.library_settings import LibrarySettings
from livedub.library.types import DubParameters, DubTarget, Job, JobKind
from livedub.library.work import dub_fan_out
from livedub.library.work.dub_fan_out import dub_range, dub_whole, join_parts, part_prefix, plan_dub
from livedub.library.work.dub_file import refuse_too_many_failures
from livedub.library.work.dub_part import DubPartFile, PartLanguage, PartSummary
from livedub.library.work.dub_plan import DubRange
from livedub.library.work.made_file import MadeFile
from livedub.library.work.patient_sts import TRIES, PatientSts
from livedub.library.work.programme_file import plan_file, read_range
from livedub.library.work.step_progress import StepProgress
from livedub.library.work.work_ports import JobCancelledError
from livedub.sts.contract import ErrorCode, Stage, StsRequest, StsResult
from livedub.sts.errors import StsFailure, StsRefused, StsUnavailable
from tests.unit.livedub.dubbing.programme import RATE, OnPartial, level
from tests.unit.livedub.dubbing.test_languages import dub_in, result_of
from tests.unit.livedub.dubbing.test_media_file import audio_of, make
from tests.unit.livedub.library.work.work_rig import FolderStorage, Watched, job_of, settings_for

SPEECH = "0.5*sin(2*PI*200*t)*between(mod(t\\,5)\\,1\\,3.5)"
SECONDS = 22.0


class Tones:
    """Dubs every fragment by a tone of the language; `fails` says which are refused, by their text."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.asked: list[str] = []

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        self.asked.append(request.fragment_id)
        await asyncio.sleep(0)
        if self.fails and request.fragment_id.endswith(self.fails):
            raise StsRefused(ErrorCode.MODEL_ERROR, "no", stage=Stage.TTS, retryable=False)
        texts = {
            target.language: f"{target.language} {request.sequence_number}"
            for target in request.config.targets
        }
        return result_of(request, *(dub_in(language, request, text) for language, text in texts.items()))

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("talk") / "talk.mp4", seconds=SECONDS, audio=SPEECH)


@pytest.fixture(scope="module")
def short_talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("talk") / "talk.mp4", seconds=11, audio=SPEECH)


def dub_job(
    output: str = "out/talk.mp4", *, subtitles: bool = True, into: Sequence[str] = ("en", "fr")
) -> Job:
    targets = tuple(DubTarget(language=language) for language in into)
    parameters = DubParameters(source_language="es", targets=targets, subtitles=subtitles)
    return job_of(parameters, JobKind.DUB, "talk.mp4", output)


def settings(tmp_path: Path) -> LibrarySettings:
    return settings_for(tmp_path, dub_separates=False, dub_range_s=10)


def whole(
    tmp_path: Path, talk: Path, sts: Any, job: Job | None = None, progress: Watched | None = None
) -> list[MadeFile]:
    folder = tmp_path / "whole"
    folder.mkdir(parents=True)
    source = Path(shutil.copy(talk, folder / "source.mp4"))
    return dub_whole(
        job or dub_job(), source, StepProgress(progress or Watched()), settings(tmp_path), lambda _: sts
    )


@pytest.fixture(scope="module")
def dubbed(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> list[MadeFile]:
    return whole(tmp_path_factory.mktemp("dubbed"), talk, Tones())


def test_each_language_is_a_track_over_the_copied_picture(talk: Path, dubbed: list[MadeFile]):
    film = dubbed[-1].path
    assert [made.key for made in dubbed] == ["out/talk.en.vtt", "out/talk.fr.vtt", "out/talk.mp4"]
    with av.open(str(film)) as container, av.open(str(talk)) as source:
        assert [stream.metadata.get("language") for stream in container.streams.audio] == ["eng", "fra"]
        copied, original = (
            [bytes(packet) for packet in one.demux(one.streams.video[0]) if packet.size]
            for one in (container, source)
        )
    assert copied == original
    for track, (own_hz, other_hz) in enumerate([(600.0, 800.0), (800.0, 600.0)]):
        sound = audio_of(film, track)
        for second in (1.5, 11.5, 16.5):
            heard = sound[int(second * RATE) : int((second + 1) * RATE)]
            assert level(heard, own_hz) == pytest.approx(0.3, rel=0.2)
            assert level(heard, other_hz) < 0.02


def test_subtitles_stand_where_the_language_is_spoken(dubbed: list[MadeFile]):
    for language, made in zip(("en", "fr"), dubbed, strict=False):
        blocks = made.path.read_text().split("\n\n")[1:]
        times = [block.split(" --> ")[0].strip() for block in blocks if block.strip()]
        assert [time[:8] for time in times] == [f"00:00:{second:02}" for second in range(1, 22, 5)]
        assert all(f"\n{language} " in block for block in blocks if block.strip())
        assert made.language == language


def test_many_hosts_make_the_same_bytes_as_one(
    talk: Path, dubbed: list[MadeFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dub_fan_out, "connect_service", lambda _: Tones())
    storage, job = FolderStorage(tmp_path), dub_job()
    storage.put("talk.mp4", talk)
    plan = plan_dub(job, storage, Watched(), settings(tmp_path))
    assert len(plan.ranges) == 2
    assert plan == type(plan).model_validate_json(plan.model_dump_json())
    for one in reversed(plan.ranges):  # in whatever order, and once more where a host died
        part = dub_range(job, one, storage, Watched(), settings(tmp_path))
        assert part.key.startswith(part_prefix(job))
    again = storage.path(
        "mpr-media-out", dub_range(job, plan.ranges[1], storage, Watched(), settings(tmp_path)).key
    )
    first = again.read_bytes()
    dub_range(job, plan.ranges[1], storage, Watched(), settings(tmp_path))
    assert again.read_bytes() == first
    join_parts(job, plan, storage, Watched(), settings(tmp_path))
    assert storage.keys() == sorted(made.key for made in dubbed), "parts are gone"
    for made in dubbed:
        assert storage.path("mpr-media-out", made.key).read_bytes() == made.path.read_bytes()
    assert not list((tmp_path / "work").iterdir())


def test_a_part_that_is_missing_is_no_silence(short_talk: Path, tmp_path: Path):
    storage, job = FolderStorage(tmp_path), dub_job()
    storage.put("talk.mp4", short_talk)
    plan = plan_dub(job, storage, Watched(), settings(tmp_path))
    with pytest.raises(MissingKeyError):
        join_parts(job, plan, storage, Watched(), settings(tmp_path))
    assert storage.keys() == []


def test_a_part_that_is_none_is_refused(tmp_path: Path):
    path = tmp_path / "part.zip"
    path.write_bytes(b"PK no")
    with pytest.raises(LibraryError) as caught:
        DubPartFile(path)
    assert caught.value.code is LibraryErrorCode.WORK_FAILED


def joined(source: Path, ranges: tuple[DubRange, ...]) -> Samples:
    """The programme as its ranges are read, one after the other; each is gapless."""
    blocks: list[Samples] = []
    for one in ranges:
        expected = one.start
        for position, samples in read_range(source, "talk", one):
            assert position == expected
            expected += len(samples)
            blocks.append(samples)
        assert expected == one.end
    return np.concatenate(blocks)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["talk.mp4", "talk.mkv", "talk.mp3", "talk.wav"])
def test_ranges_read_apart_are_the_programme_read_at_once(tmp_path: Path, name: str):
    music = "0.3*sin(2*PI*(200+20*t)*t)"
    source = make(tmp_path / name, seconds=22, audio=music, video=False)
    plan = plan_file(source, name, 10, StepProgress(Watched()))
    assert len(plan.ranges) == 2
    first, last = plan.ranges[0], plan.ranges[-1]
    at_once = joined(source, (first.model_copy(update={"end": last.end}),))
    apart = joined(source, plan.ranges)
    assert len(at_once) == len(apart) == last.end - first.start
    for one in plan.ranges:
        place = slice(one.start - first.start + 2, one.end - first.start - 2)
        # A resampler that starts anew may lie a sample beside the one that ran on.
        strays = [
            float(np.abs(at_once[place] - np.roll(apart, move, axis=0)[place]).max()) for move in (-1, 0, 1)
        ]
        assert min(strays) < 0.05


def test_subtitles_of_the_only_language_have_the_name_of_the_film(short_talk: Path, tmp_path: Path):
    made = whole(tmp_path, short_talk, Tones(), dub_job(into=["fr"]))
    assert [it.key for it in made] == ["out/talk.vtt", "out/talk.mp4"]


def test_a_job_without_subtitles_writes_none(short_talk: Path, tmp_path: Path):
    job = dub_job(subtitles=False, into=["en"])
    assert [made.key for made in whole(tmp_path, short_talk, Tones(), job)] == ["out/talk.mp4"]


def test_too_many_failures_fail_the_job(short_talk: Path, tmp_path: Path):
    with pytest.raises(LibraryError, match="sts_error:MODEL_ERROR") as caught:
        whole(tmp_path, short_talk, Tones(fails="/1"))
    assert caught.value.code is LibraryErrorCode.WORK_FAILED


def summary(dubbed: int, *failures: str) -> PartSummary:
    language = PartLanguage(language="en", dubbed=dubbed, failures=failures)
    return PartSummary(index=0, start=0, end=1, languages=(language,))


def test_a_few_failures_are_borne():
    refuse_too_many_failures([summary(30, "a"), summary(30, "b")], allowed_percent=5)
    with pytest.raises(LibraryError, match="3 of 23 fragments"):
        refuse_too_many_failures([summary(20, "a", "a", "b")], allowed_percent=5)
    refuse_too_many_failures([summary(0)], allowed_percent=0)


def test_cancelling_does_not_wait_for_the_service(short_talk: Path, tmp_path: Path):
    asked = Watched()

    class Stuck(Tones):
        closed = False

        async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
            asked._cancel_at = lambda: True
            await asyncio.Event().wait()
            raise AssertionError

        async def aclose(self) -> None:
            self.closed = True

    sts = Stuck()
    with pytest.raises(JobCancelledError):
        whole(tmp_path, short_talk, sts, progress=asked)
    assert sts.closed


class Flaky(Tones):
    def __init__(self, failures: Sequence[StsFailure]) -> None:
        super().__init__()
        self.failures: list[StsFailure] = list(failures)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        self.asked.append("x")
        if self.failures:
            raise self.failures.pop(0)
        return StsResult.model_construct()


def ask_patiently(sts: Flaky) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    request: Any = type("Request", (), {"fragment_id": "a/0/0"})
    asyncio.run(PatientSts(sts, sleep).process(request))
    return pauses


def test_a_service_that_restarts_is_waited_for():
    assert ask_patiently(Flaky([StsUnavailable("down")] * 3)) == [0.5, 1.0, 2.0]


def test_patience_ends():
    sts = Flaky([StsUnavailable("down")] * 99)
    with pytest.raises(StsUnavailable):
        ask_patiently(sts)
    assert len(sts.asked) == TRIES


def test_a_service_that_stays_away_is_not_waited_for_at_every_fragment():
    sts = Flaky([StsUnavailable("down")] * (TRIES + 1))
    request: Any = type("Request", (), {"fragment_id": "a/0/0"})

    async def sleep(_: float) -> None:
        pass

    async def ask() -> None:
        patient = PatientSts(sts, sleep)
        for tried in (TRIES, TRIES + 1):
            with pytest.raises(StsUnavailable):
                await patient.process(request)
            assert len(sts.asked) == tried
        await patient.process(request)
        sts.failures.append(StsUnavailable("down"))
        await patient.process(request)  # it has answered since: patience is back

    asyncio.run(ask())


def test_what_no_retry_heals_is_not_asked_again():
    sts = Flaky([StsRefused(ErrorCode.UNSUPPORTED_LANGUAGE, "no", stage=Stage.INPUT, retryable=False)])
    with pytest.raises(StsRefused):
        ask_patiently(sts)
    assert len(sts.asked) == 1
