"""What a dub says: terms, doubts, shorter wordings, ways through English; and who says it, with one more try."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gpu_handler.engines.base import Line, Sentence, Translation
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings
from gpu_handler.voices import Consent, RegisteredVoice, VoiceFile, VoiceRefusedError
from livedub.errors import ConfigurationError
from livedub.sts.contract import ErrorCode, Stage, Status, StsResult
from tests.unit.gpu_handler.fake_engines import FakeEngines
from tests.unit.gpu_handler.requests import request

SOURCE = "buenas noches a todos los que nos ven"


@pytest.fixture
def fakes() -> FakeEngines:
    made = FakeEngines()
    made.transcriber.text = SOURCE
    return made


@asynccontextmanager
async def running(
    fakes: FakeEngines, *, speech_translation: bool = True, **settings: object
) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(
        fakes.engines(speech_translation=speech_translation),
        settings=StsSettings.model_construct(**settings),  # pyright: ignore[reportArgumentType]
    )
    pipeline.load()
    try:
        yield pipeline
    finally:
        await asyncio.to_thread(pipeline.close)


def text_of(result: StsResult) -> str:
    assert result.status is Status.SUCCESS, result.error
    (dub,) = result.dubs
    return dub.translated_text


class TestTerms:
    async def test_a_term_leaves_as_a_code_word_and_comes_back_as_wanted(self, fakes: FakeEngines):
        fakes.transcriber.text = "juega el Rayo en Vallecas"
        fakes.translator.answer = lambda sentence: Translation(f"ce soir {sentence.text}")
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr", glossary={"Rayo": "Rayo Vallecano"}))
        assert text_of(result) == "ce soir juega el Rayo Vallecano en Vallecas"
        assert "Rayo" not in str(fakes.translator.calls[0]["text"])

    async def test_a_swallowed_term_is_translated_plainly_and_put_right(self, fakes: FakeEngines):
        fakes.transcriber.text = "juega el Rayo hoy"
        plain = Translation("le Rayo joue aujourd'hui")
        fakes.translator.answer = lambda sentence: (
            plain if "Rayo" in sentence.text else Translation("quelqu'un joue aujourd'hui")
        )
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr", glossary={"Rayo": "Rayo Vallecano"}))
        assert text_of(result) == "le Rayo Vallecano joue aujourd'hui"
        assert len(fakes.translator.calls) == 2

    async def test_the_candidate_that_kept_the_term_is_enough(self, fakes: FakeEngines):
        fakes.transcriber.text = "juega el Rayo hoy"
        fakes.translator.answer = lambda sentence: Translation(
            "quelqu'un joue", alternatives=(sentence.text.replace("juega el", "joue"),)
        )
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr", glossary={"Rayo": "Rayo"}))
        assert text_of(result) == "joue Rayo hoy"
        assert len(fakes.translator.calls) == 1

    async def test_the_recogniser_s_translation_gives_way_where_it_missed_a_term(self, fakes: FakeEngines):
        fakes.transcriber.text = "el delantero estaba en fuera de juego"
        fakes.transcriber.english = "the old one was outside of the game"
        fakes.translator.answer = lambda sentence: Translation(
            sentence.text.replace("el", "the").replace("estaba en", "was")
        )
        glossary = {"delantero": "striker", "fuera de juego": "offside"}
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "en", glossary=glossary))
        assert text_of(result) == "the striker was offside"

    async def test_it_stays_where_the_translator_has_nothing_better(self, fakes: FakeEngines):
        fakes.transcriber.text = "el delantero estaba en fuera de juego"
        fakes.transcriber.english = "the old one was outside of the game"

        def fail(_: Sentence) -> Translation:
            raise ValueError("out of order")

        fakes.translator.answer = fail
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "en", glossary={"delantero": "striker"}))
        assert text_of(result) == "the old one was outside of the game"


class TestCandidates:
    async def test_one_with_the_right_figure_is_preferred(self, fakes: FakeEngines):
        fakes.transcriber.text = "han venido 300 personas al estadio"
        fakes.translator.answer = lambda _: Translation(
            "il est venu 3000 personnes au stade", alternatives=("il est venu 300 personnes au stade",)
        )
        async with running(fakes) as pipeline:
            assert "300 p" in text_of(await pipeline.process(request(1, "fr")))

    async def test_one_that_runs_away_is_never_spoken(self, fakes: FakeEngines):
        fakes.translator.answer = lambda _: Translation("bonsoir " * 60)
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr"))
        assert result.error is not None
        assert (result.error.code, result.error.stage) == (ErrorCode.MODEL_ERROR, Stage.TRANSLATION)
        assert fakes.synthesizer.calls == []

    async def test_another_candidate_takes_its_place(self, fakes: FakeEngines):
        fakes.translator.answer = lambda _: Translation(
            "bonsoir " * 60, alternatives=("bonsoir à tous ceux qui regardent",)
        )
        async with running(fakes) as pipeline:
            assert text_of(await pipeline.process(request(1, "fr"))) == "bonsoir à tous ceux qui regardent"


class TestBrevity:
    """The fragment is two seconds long, speech starts at 0.2 s: more than 2.25 s at natural pace is too long."""

    LONG = "bonsoir à tous ceux qui nous regardent ce soir chez eux"
    MIDDLE = "bonsoir à tous ceux qui nous regardent"
    SHORT = "bonsoir à vous qui regardez"

    @pytest.fixture(autouse=True)
    def _pace(self, fakes: FakeEngines) -> None:
        fakes.synthesizer.natural_ms = lambda text: 70 * len(text)
        fakes.synthesizer.say = lambda line: np.full(
            round(24 * 70 * len(line.text) / line.speed), 0.2, dtype=np.float32
        )

    async def test_a_candidate_that_fits_is_taken_before_anybody_hurries(self, fakes: FakeEngines):
        fakes.translator.answer = lambda _: Translation(self.LONG, alternatives=(self.MIDDLE, self.SHORT))
        async with running(fakes) as pipeline:
            assert text_of(await pipeline.process(request(1, "fr"))) == self.SHORT
        assert len(fakes.translator.calls) == 1

    async def test_a_translator_that_can_is_asked_to_be_brief(self, fakes: FakeEngines):
        fakes.translator.shortens = True
        fakes.translator.answer = lambda sentence: Translation(
            [self.LONG, self.MIDDLE, self.SHORT][sentence.brevity]
        )
        async with running(fakes) as pipeline:
            assert text_of(await pipeline.process(request(1, "fr"))) == self.SHORT
        assert [call["brevity"] for call in fakes.translator.calls] == [0, 1, 2]

    async def test_it_is_not_asked_where_the_first_wording_fits(self, fakes: FakeEngines):
        fakes.translator.shortens = True
        fakes.translator.answer = lambda _: Translation(self.SHORT)
        async with running(fakes) as pipeline:
            await pipeline.process(request(1, "fr"))
        assert [call["brevity"] for call in fakes.translator.calls] == [0]

    async def test_the_shortest_is_spoken_where_none_fits(self, fakes: FakeEngines):
        fakes.translator.shortens = True
        fakes.translator.answer = lambda _: Translation(self.LONG, alternatives=(self.MIDDLE,))
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr"))
        assert text_of(result) == self.MIDDLE
        assert result.dubs[0].tempo > 1.25
        assert [call["brevity"] for call in fakes.translator.calls] == [0, 1, 2]

    async def test_one_that_cannot_be_brief_is_asked_once(self, fakes: FakeEngines):
        fakes.translator.answer = lambda _: Translation(self.LONG)
        async with running(fakes) as pipeline:
            assert text_of(await pipeline.process(request(1, "fr"))) == self.LONG
        assert len(fakes.translator.calls) == 1

    async def test_neighbours_keep_their_tempo(self, fakes: FakeEngines):
        tempos: list[float] = []
        async with running(fakes) as pipeline:
            for number, text in enumerate([self.MIDDLE, "bon", "bon", "bon"]):
                fakes.translator.answer = lambda _, text=text: Translation(text)
                fakes.transcriber.text = SOURCE if text == self.MIDDLE else "bien"
                result = await pipeline.process(request(number, "fr"))
                tempos.append(result.dubs[0].tempo)
        assert tempos[0] > 1.3
        for before, after in pairwise(tempos):
            assert after >= before / 1.081, "slowing down is never urgent"


class TestPivot:
    async def test_a_pair_without_a_model_goes_through_english(self, fakes: FakeEngines):
        fakes.translator.known = {("de", "en"), ("en", "fr")}
        fakes.translator.answer = lambda sentence: Translation(f"{sentence.text} >{sentence.target}")
        async with running(fakes, speech_translation=False) as pipeline:
            assert pipeline.pairs() == {"de": ("en", "fr"), "en": ("fr",)}
            result = await pipeline.process(request(1, "fr", source="de", context="vorher"))
        assert text_of(result) == f"{SOURCE} >en >fr"
        assert [(call["source"], call["target"], call["context"]) for call in fakes.translator.calls] == [
            ("de", "en", "vorher"),
            ("en", "fr", ""),
        ]

    async def test_a_term_survives_both_ways(self, fakes: FakeEngines):
        fakes.translator.known = {("de", "en"), ("en", "fr")}
        fakes.translator.answer = lambda sentence: Translation(f"{sentence.text} >{sentence.target}")
        fakes.transcriber.text = "das Tor von Union gestern Abend"
        async with running(fakes, speech_translation=False) as pipeline:
            result = await pipeline.process(request(1, "fr", source="de", glossary={"Union": "Union Berlin"}))
        assert text_of(result) == "das Tor von Union Berlin gestern Abend >en >fr"


class TestRendering:
    async def test_what_a_voice_spoils_is_rendered_once_more_with_another_seed(self, fakes: FakeEngines):
        good = fakes.synthesizer.samples
        fakes.synthesizer.say = lambda line: good if line.seed else np.full(24_000, np.nan, np.float32)
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr"))
        assert result.dubs[0].audio is not None
        assert [call["seed"] for call in fakes.synthesizer.calls] == [0, 1]

    @pytest.mark.parametrize("level", [0.0, 1.0, np.inf])
    async def test_what_it_spoils_twice_is_not_dubbed(self, fakes: FakeEngines, level: float):
        fakes.synthesizer.samples = np.full(24_000, level, np.float32)
        async with running(fakes) as pipeline:
            result = await pipeline.process(request(1, "fr", "en"))
        assert result.status is Status.ERROR
        assert result.error is not None
        assert (result.error.code, result.error.stage) == (ErrorCode.MODEL_ERROR, Stage.TTS)
        assert not result.error.retryable
        assert len(fakes.synthesizer.calls) == 4

    async def test_nobody_listens_again_unless_asked(self, fakes: FakeEngines):
        async with running(fakes) as pipeline:
            await pipeline.process(request(1, "fr"))
        assert len(fakes.transcriber.calls) == 1

    async def test_a_dub_that_is_not_understood_is_spoken_again(self, fakes: FakeEngines):
        heard = iter(["", "bonsoir à tous ceux qui regardent", "bonsoir à tous ceux qui regardent"])
        fakes.translator.answer = lambda _: Translation("bonsoir à tous ceux qui regardent")

        def say(line: Line) -> np.ndarray:
            fakes.transcriber.text = next(heard)
            return fakes.synthesizer.samples

        fakes.synthesizer.say = say
        async with running(fakes, back_check=True) as pipeline:
            result = await pipeline.process(request(1, "fr"))
        assert result.dubs[0].audio is not None
        assert [call["seed"] for call in fakes.synthesizer.calls] == [0, 1]
        assert [call["language"] for call in fakes.transcriber.calls] == ["es", "fr", "fr"]


class TestCasting:
    @pytest.fixture
    def registry(self, tmp_path: Path) -> Path:
        (tmp_path / "anna.wav").write_bytes(b"RIFF")
        consent = {"person": "Anna", "document": "d-1", "scope": "dubbing"}
        voices = (
            RegisteredVoice(
                id="fr/anna",
                language="fr",
                engine="fake",
                speaker_reference="anna.wav",
                allowed_streams=("stream",),
                consent=Consent(granted_on=date(2000, 1, 1), expires_on=date(2999, 1, 1), **consent),
            ),
            RegisteredVoice(
                id="fr/late",
                language="fr",
                engine="fake",
                speaker_reference="anna.wav",
                allowed_streams=("*",),
                consent=Consent(granted_on=date(2000, 1, 1), expires_on=date(2001, 1, 1), **consent),
            ),
            RegisteredVoice(id="fr/absent", language="fr", engine="other", allowed_streams=("*",)),
        )
        path = tmp_path / "voices.json"
        path.write_text(VoiceFile(voices=voices).model_dump_json())
        return path

    async def test_a_cloned_voice_speaks_with_consent_on_its_stream_only(
        self, fakes: FakeEngines, registry: Path
    ):
        fakes.synthesizer.extra_voices = {"fr": ("fr/one", "fr/anna", "fr/late")}
        async with running(fakes, voice_registry=registry) as pipeline:

            async def ask(voice: str, stream: str = "stream") -> StsResult:
                targets = [{"language": "fr", "voice": voice}]
                return await pipeline.process(request(1, stream=stream, targets=targets))

            assert (await ask("fr/anna")).status is Status.SUCCESS
            assert fakes.synthesizer.calls[-1]["voice"] == "fr/anna"
            assert (await ask("")).status is Status.SUCCESS
            assert fakes.synthesizer.calls[-1]["voice"] == "fr/one"
            for voice, stream in (("fr/anna", "elsewhere"), ("fr/late", "stream"), ("fr/absent", "stream")):
                result = await ask(voice, stream)
                assert result.error is not None, voice
                assert (result.error.code, result.error.stage) == (ErrorCode.INVALID_INPUT, Stage.INPUT)
            with pytest.raises(VoiceRefusedError):
                await pipeline.speak("bonsoir", "fr/anna")
            assert len(fakes.synthesizer.calls) == 2

    async def test_a_language_whose_voices_are_all_refused_says_so(self, fakes: FakeEngines, registry: Path):
        fakes.synthesizer.extra_voices = {"fr": ("fr/late",)}
        async with running(fakes, voice_registry=registry) as pipeline:
            result = await pipeline.process(request(1, "fr"))
        assert result.error is not None
        assert "no voice for 'fr'" in result.error.message

    def test_a_registry_that_is_missing_is_named_when_loading(self, fakes: FakeEngines, tmp_path: Path):
        settings = StsSettings.model_construct(voice_registry=tmp_path / "none.json")
        pipeline = Pipeline(fakes.engines(), settings=settings)
        with pytest.raises(ConfigurationError, match="STS_VOICE_REGISTRY"):
            pipeline.load()
        pipeline.close()
