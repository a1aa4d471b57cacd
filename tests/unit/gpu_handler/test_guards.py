"""The guards against recorded answers of Whisper base to sound without a word, and to speech."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines.base import Recognition
from gpu_handler.guards import Verdict, is_believable, is_repetitive, judge, runs_away, words_of

# text, language, no-speech probability, average log probability, compression ratio: as Whisper gave them
INVENTED = [
    ("Y si no, no, no.", "es", 0.74, -2.09, 0.89),
    ("Thanks for watching!", "en", 0.66, -1.32, 0.71),
    ("¡Adiós!", "es", 0.58, -1.76, 0.53),
    ("¡Suscríbete!", "es", 0.43, -1.37, 0.64),
    ("No, no, no.", "es", 0.44, -1.61, 0.73),
    ("I'm going to use a little bit of water.", "en", 0.83, -1.84, 0.83),
    ("Ah" + "h" * 200, "en", 0.74, -0.25, 12.5),
    ("Hattie, " * 30, "en", 0.92, -0.41, 4.0),
    ("1.5-" * 25, "es", 0.57, -0.48, 2.71),
    ("Y si no, no, no, no, no, no, no, no, no, no, no, no, no, no, no, no, no", "es", 0.71, -0.57, 4.22),
    ("En la zona de la ciudad, la ciudad de la ciudad de la ciudad de la ciudad", "es", 0.31, -0.85, 4.49),
    ("1,5,5,5,5,5,5,5", "es", 0.66, -0.97, 1.25),
    ("you", "en", 0.9, -3.19, 0.27),
]
SPOKEN = [
    ("Buenas noches a todos y bienvenidos a nuestra transmisión en directo desde Madrid.", "es", 0.2, -0.06),
    ("La lluvia ha parado y los jugadores vuelven al campo.", "es", 0.08, -0.2),
    ("The police have closed three streets near the harbor.", "en", 0.05, -0.25),
    ("No, no, no lo creo.", "es", 0.1, -0.4),
    ("Yes.", "en", 0.1, -0.5),
    ("He said that that was fine.", "en", 0.1, -0.3),
]


def heard(
    text: str,
    language: str = "en",
    no_speech: float | None = 0.05,
    confidence: float | None = -0.2,
    compression: float | None = 1.0,
) -> Recognition:
    return Recognition(
        text=text,
        language=language,
        no_speech_probability=no_speech,
        average_log_probability=confidence,
        compression_ratio=compression,
    )


@pytest.mark.parametrize(("text", "language", "no_speech", "confidence", "compression"), INVENTED)
def test_inventions_are_caught_even_when_the_voice_detector_is_fooled(
    text: str, language: str, no_speech: float, confidence: float, compression: float
):
    recognition = heard(text, language, no_speech, confidence, compression)
    assert judge(recognition, voice_ms=3_500) is not Verdict.FINE


@pytest.mark.parametrize(("text", "language", "no_speech", "confidence"), SPOKEN)
def test_speech_passes(text: str, language: str, no_speech: float, confidence: float):
    assert judge(heard(text, language, no_speech, confidence), voice_ms=3_000) is Verdict.FINE


def test_words_without_a_voice_are_not_believed():
    assert judge(heard("Good evening everyone."), voice_ms=100) is Verdict.NO_VOICE


def test_punctuation_alone_says_nothing():
    assert judge(heard(". . ."), voice_ms=2_000) is Verdict.EMPTY


def test_little_voice_asks_for_more_confidence():
    recognition = heard("Oh, I'm sorry.", confidence=-0.8)
    assert judge(recognition, voice_ms=300) is Verdict.LOW_CONFIDENCE
    assert judge(recognition, voice_ms=1_500) is Verdict.FINE


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Subtítulos realizados por la comunidad de Amara.org", "es"),
        ("Sous-titres réalisés para la communauté d'Amara.org", "fr"),
        ("Untertitel der Amara.org-Community", "de"),
        ("Sottotitoli creati dalla comunità Amara.org", "it"),
        ("Legendas pela comunidade Amara.org", "pt"),
        ("Subtitles by the Amara.org community", "en"),
    ],
)
def test_credits_are_never_speech(text: str, language: str):
    assert judge(heard(text, language, 0.01, -0.05), voice_ms=4_000) is Verdict.KNOWN_PHRASE


def test_the_recogniser_s_own_compression_ratio_counts():
    text = "This sentence is what was left of a long repetition."
    assert judge(heard(text, compression=3.1), voice_ms=3_000) is Verdict.REPETITION
    assert judge(heard(text, compression=2.1), voice_ms=3_000) is Verdict.FINE
    assert judge(heard("Yes, yes.", compression=3.1), voice_ms=3_000) is Verdict.FINE


def test_little_voice_in_a_long_fragment_asks_for_more_confidence():
    recognition = heard("Oh, I'm sorry.", confidence=-0.8)
    assert judge(recognition, voice_ms=600, fragment_ms=6_000) is Verdict.LOW_CONFIDENCE
    assert judge(recognition, voice_ms=600, fragment_ms=2_000) is Verdict.FINE
    assert judge(heard("Thank you."), voice_ms=600, fragment_ms=6_000) is Verdict.KNOWN_PHRASE


@pytest.mark.parametrize(
    ("text", "language"),
    [("ご視聴ありがとうございました。", "ja"), ("Продолжение следует...", "ru"), ("谢谢观看!", "zh")],
)
def test_stock_phrases_are_known_in_other_scripts(text: str, language: str):
    assert judge(heard(text, language, confidence=-0.6), voice_ms=2_000) is Verdict.KNOWN_PHRASE


def test_thanks_are_believed_from_a_clear_voice_only():
    thanks = heard("Muchas gracias.", "es", confidence=-0.2)
    assert judge(thanks, voice_ms=900) is Verdict.FINE
    assert judge(thanks, voice_ms=400) is Verdict.KNOWN_PHRASE
    mumbled = heard("Muchas gracias.", "es", confidence=-0.6)
    assert judge(mumbled, voice_ms=900) is Verdict.KNOWN_PHRASE


def test_a_sentence_that_contains_a_stock_phrase_is_speech():
    text = "Muchas gracias al entrenador por la entrevista."
    assert judge(heard(text, "es"), voice_ms=2_500) is Verdict.FINE


def test_nobody_speaks_ten_words_a_second():
    assert judge(heard("one two three four five six seven eight nine ten"), voice_ms=800) is Verdict.TOO_FAST


def test_missing_figures_convict_nobody():
    assert judge(heard("A mock said this.", "en", None, None, None), voice_ms=2_000) is Verdict.FINE


@given(st.lists(st.sampled_from(["gol", "de", "madrid", "hoy"]), min_size=2, max_size=4), st.integers(4, 12))
def test_any_phrase_over_and_over_is_repetition(phrase: list[str], times: int):
    assert is_repetitive(" ".join(phrase * times))


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9), unique=True, max_size=12))
def test_distinct_words_are_no_repetition(words: list[str]):
    assert not is_repetitive(" ".join(words))


def test_a_translation_must_be_in_proportion():
    transcript = "La lluvia ha parado."
    assert is_believable("The rain has stopped.", transcript)
    assert not is_believable("", transcript)
    assert not is_believable("Subtitles by the Amara.org community", transcript)
    assert not is_believable(" ".join(f"word{n}" for n in range(15)), transcript)
    assert not is_believable("Today we go. Today we go. Today we go.", "Hoy vamos todos juntos al campo")


@pytest.mark.parametrize(
    ("translation", "transcript", "believable"),
    [
        ("Su tercer gol en esta temporada.", "Su tercer gol en esta temporada.", False),
        ("Arbitromira es un reloj y levanta la mano.", "El árbitro mira su reloj y levanta la mano.", False),
        ("¡Gol!", "¡Gol!", False),
        ("Real Madrid 3, Barcelona 2 at the break.", "Real Madrid 3, Barcelona 2 en el descanso.", False),
        (
            "Maria Lopez scores for Real Madrid in the last minute.",
            "Maria Lopez marca para el Real Madrid.",
            True,
        ),
        ("The portero saves his team.", "Pero el portero salva a su equipo.", True),
        ("No problem.", "Ningún problema.", True),
    ],
)
def test_a_transcript_is_no_translation(translation: str, transcript: str, believable: bool):
    assert is_believable(translation, transcript) is believable


def test_words_keep_their_inner_apostrophes():
    assert words_of("L\N{RIGHT SINGLE QUOTATION MARK}équipe d'Amara, don't! 3-2") == [
        "l'équipe",
        "d'amara",
        "don't",
        "3",
        "2",
    ]


@pytest.mark.parametrize(
    ("translation", "transcript"),
    [
        ("the goal the goal the goal the goal the goal", "El gol."),
        ("I am going to go to the city and I will be there with you for the next three days.", "Sí."),
        (
            "the city of the city of the city of the city of the city of the city",
            "la ciudad está lejos de aquí",
        ),
    ],
)
def test_a_translator_that_goes_on_by_itself_is_told(translation: str, transcript: str):
    assert runs_away(translation, transcript)


@pytest.mark.parametrize(
    ("translation", "transcript"),
    [
        ("Yes, of course, thank you.", "Sí."),
        ("no, no, no, no, no", "no, no, no, no, no"),
        (
            "Ohtani won the game at home in front of fifty thousand people.",
            "大谷は五万人の前で試合に勝ちました",
        ),
        ("", "Hola."),
    ],
)
def test_a_translation_of_its_length_is_not(translation: str, transcript: str):
    assert not runs_away(translation, transcript)


def test_a_script_without_spaces_is_not_taken_for_one_word():
    japanese = "大谷は五万人の前で試合に勝ちました"
    assert is_believable("Ohtani won the game at home in front of fifty thousand people.", japanese)
    assert judge(heard(japanese, "ja"), voice_ms=2_500) is Verdict.FINE
