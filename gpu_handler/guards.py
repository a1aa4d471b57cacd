"""Rules against what a recogniser invents on silence, music and noise.

Whisper answers every clip with some sentence; on clips without speech these come from a small stock (thanks,
subtitle credits, "you") or repeat themselves (Koenecke et al., Careless Whisper, FAccT 2024; Barański et al.,
ICASSP 2025, "bag of hallucinations"). No rule alone is enough: voice activity is fooled by singing-like music,
confidence is high on stock phrases. A fragment that any rule catches is not dubbed; the original stays on the air,
which nobody mistakes for a translation.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from gpu_handler.engines.base import Recognition
from gpu_handler.quality.plain_text import UNSPACED


class Verdict(str, Enum):
    """Why a transcript is not to be dubbed; `FINE` where it is."""

    FINE = "fine"
    NO_VOICE = "no_voice"
    EMPTY = "empty"
    NO_SPEECH = "no_speech"
    LOW_CONFIDENCE = "low_confidence"
    REPETITION = "repetition"
    KNOWN_PHRASE = "known_phrase"
    TOO_FAST = "too_fast"


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Thresholds; the first four are about the recogniser's own doubts, the others about plausibility.

    `weak_voice_ms`, `weak_voice_share`: with less detected voice than this, in all or as a share of the fragment,
    the recogniser must be sure of itself.
    """

    min_voice_ms: int = 150
    no_speech_probability: float = 0.6
    no_speech_log_probability: float = -0.7
    min_log_probability: float = -1.0
    weak_voice_ms: int = 500
    weak_voice_share: float = 0.12
    weak_voice_log_probability: float = -0.6
    max_compression_ratio: float = 2.2
    max_repeats: int = 3
    max_words_per_second: float = 7.0
    max_shared_words: float = 0.5
    min_words_to_compare: int = 4
    max_translation_growth: float = 2.5


DEFAULT_LIMITS = GuardLimits()

_SHORTEST_TO_DEFLATE = 40
"""Bytes: a shorter text deflates badly whatever it says."""

_FEW_WORDS = 6
"""Added to a bound in words: one word may well be said in several."""

_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
_WORD = re.compile(r"[^\W_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W_]+)*")

_KNOWN_PHRASES = {
    "de": (
        "untertitel der amara org community",
        "untertitel im auftrag des zdf",
        "untertitelung des zdf",
        "vielen dank fürs zuschauen",
        "vielen dank für die aufmerksamkeit",
    ),
    "en": (
        "you",
        "bye",
        "bye bye",
        "okay",
        "oh",
        "hmm",
        "mm hmm",
        "so",
        "thank you",
        "thank you very much",
        "thank you for watching",
        "thank you so much for watching",
        "thanks for watching",
        "please subscribe",
        "please subscribe to my channel",
        "like and subscribe",
        "don't forget to subscribe",
        "subtitles by the amara org community",
        "the end",
        "i'll see you in the next video",
        "see you in the next video",
        "music",
        "applause",
        "silence",
        "beep",
    ),
    "es": (
        "gracias",
        "muchas gracias",
        "gracias por ver el video",
        "gracias por ver el vídeo",
        "muchas gracias por ver el video",
        "suscríbete",
        "suscríbete al canal",
        "no olvides suscribirte",
        "subtítulos realizados por la comunidad de amara org",
        "subtítulos por la comunidad de amara org",
        "subtitulado por la comunidad de amara org",
        "música",
        "aplausos",
        "adiós",
    ),
    "fr": (
        "merci",
        "sous titres réalisés par la communauté d'amara org",
        "sous titres réalisés para la communauté d'amara org",
        "sous titrage société radio canada",
        "sous titrage st 501",
        "merci d'avoir regardé cette vidéo",
        "abonnez vous",
        "musique",
    ),
    "it": (
        "grazie",
        "grazie per la visione",
        "grazie per aver guardato il video",
        "sottotitoli creati dalla comunità amara org",
        "sottotitoli e revisione a cura di qtss",
        "iscriviti al canale",
        "musica",
    ),
    "pt": (
        "obrigado",
        "obrigada",
        "e aí",
        "legendas pela comunidade amara org",
        "legendas pela comunidade das legendas",
        "obrigado por assistir",
        "inscreva se no canal",
        "música",
    ),
    "ja": ("ご視聴ありがとうございました", "ありがとうございました"),
    "ko": ("시청해주셔서 감사합니다", "시청해 주셔서 감사합니다", "감사합니다"),
    "nl": ("bedankt voor het kijken", "ondertiteld door de amara org gemeenschap"),
    "pl": ("dziękuję za uwagę", "dziękuję za oglądanie"),
    "ru": ("продолжение следует", "спасибо за просмотр", "субтитры сделал dimatorzok"),
    "tr": ("izlediğiniz için teşekkür ederim",),
    "zh": ("谢谢观看", "謝謝觀看", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目"),
}
"""What Whisper says when nobody speaks, by language, as lower-case words. Compared with whole utterances only."""

_CREDITS = re.compile(
    r"amara\s*\.?\s*org|subt[ií]tul|subtitle[sd]? by|sous-titr|untertitel|sottotitoli|legendas? por|www\.|https?:",
    re.IGNORECASE,
)
_SURE_LOG_PROBABILITY = -0.35
"""A stock phrase is believed from here on, where the voice detector hears enough voice as well."""


def judge(
    recognition: Recognition,
    *,
    voice_ms: int,
    fragment_ms: int | None = None,
    limits: GuardLimits = DEFAULT_LIMITS,
) -> Verdict:
    """Whether somebody said what the recogniser heard.

    Args:
        recognition: its text and its confidence figures (a figure that is None convicts nobody).
        voice_ms: how long the voice detector heard speech in the fragment.
        fragment_ms: how long the fragment is; None leaves the share of voice out.
        limits: thresholds.
    """
    if voice_ms < limits.min_voice_ms:
        return Verdict.NO_VOICE
    words = words_of(recognition.text)
    if not words:
        return Verdict.EMPTY
    weak = voice_ms < max(limits.weak_voice_ms, limits.weak_voice_share * (fragment_ms or 0))
    if _doubtful(recognition, limits, weak=weak):
        return Verdict.NO_SPEECH if _says_no_speech(recognition, limits) else Verdict.LOW_CONFIDENCE
    return _plausibility(recognition, words, voice_ms, limits, weak=weak)


def _plausibility(
    recognition: Recognition, words: list[str], voice_ms: int, limits: GuardLimits, *, weak: bool
) -> Verdict:
    if is_repetitive(recognition.text, limits) or _deflates_too_well(recognition, limits):
        return Verdict.REPETITION
    if _is_known_phrase(recognition, words, weak=weak):
        return Verdict.KNOWN_PHRASE
    if len(words) > 2 and len(words) / (voice_ms / 1000) > limits.max_words_per_second:
        return Verdict.TOO_FAST
    return Verdict.FINE


def is_believable(translation: str, transcript: str, limits: GuardLimits = DEFAULT_LIMITS) -> bool:
    """Whether a translation decoded from speech can be one of `transcript`.

    Decoding is free to run on: a translation that repeats itself, credits somebody or is out of proportion is none.
    Nor is one that repeats the transcript: asked to translate a short clip, Whisper at times transcribes it instead.
    """
    words = words_of(translation)
    return (
        bool(words)
        and not _says_the_same(words, words_of(transcript), limits)
        and _word_count(translation) <= 2 * _word_count(transcript) + _FEW_WORDS
        and not is_repetitive(translation, limits)
        and not _CREDITS.search(translation)
    )


def runs_away(translation: str, transcript: str, limits: GuardLimits = DEFAULT_LIMITS) -> bool:
    """Whether a translator went on by itself: it repeats what was said once, or says several times as much."""
    if _word_count(translation) > limits.max_translation_growth * _word_count(transcript) + _FEW_WORDS:
        return True
    return is_repetitive(translation, limits) and not is_repetitive(transcript, limits)


def _says_the_same(translation: list[str], transcript: list[str], limits: GuardLimits) -> bool:
    """Whether most words of a translation of some length are the transcript's; names and numbers may be."""
    if len(translation) < limits.min_words_to_compare:
        return translation == transcript
    known = set(transcript)
    shared = sum(word in known for word in translation)
    return shared > limits.max_shared_words * len(translation)


def _word_count(text: str) -> float:
    """Words, two letters each in scripts that do not part them."""
    return len(words_of(_UNSPACED_LETTER.sub(" ", text))) + len(_UNSPACED_LETTER.findall(text)) / 2


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def is_repetitive(text: str, limits: GuardLimits = DEFAULT_LIMITS) -> bool:
    """Whether the text says the same over and over: one run of words repeated, or deflating too well."""
    words = words_of(text)
    for length in range(1, len(words) // 2 + 1):
        allowed = limits.max_repeats if length <= 2 else 1
        if _longest_run(words, length) > allowed:
            return True
    data = text.encode()
    return (
        len(data) > _SHORTEST_TO_DEFLATE
        and len(data) / len(zlib.compress(data)) > limits.max_compression_ratio
    )


def _deflates_too_well(recognition: Recognition, limits: GuardLimits) -> bool:
    """By the recogniser's own figure: it is of all that was decoded, of which the text may be a part."""
    ratio = recognition.compression_ratio
    return (
        ratio is not None
        and ratio > limits.max_compression_ratio
        and len(recognition.text.encode()) > _SHORTEST_TO_DEFLATE
    )


def _longest_run(words: list[str], length: int) -> int:
    """How often the same `length` words follow themselves without a break, at most."""
    longest = 1
    for start in range(min(length, len(words))):
        groups = [tuple(words[i : i + length]) for i in range(start, len(words) - length + 1, length)]
        run = 1
        for before, after in pairwise(groups):
            run = run + 1 if before == after else 1
            longest = max(longest, run)
    return longest


def _says_no_speech(recognition: Recognition, limits: GuardLimits) -> bool:
    return (recognition.no_speech_probability or 0.0) > limits.no_speech_probability


def _doubtful(recognition: Recognition, limits: GuardLimits, *, weak: bool) -> bool:
    confidence = recognition.average_log_probability
    if confidence is None:
        return False
    needed = limits.weak_voice_log_probability if weak else limits.min_log_probability
    if _says_no_speech(recognition, limits):
        needed = max(needed, limits.no_speech_log_probability)
    return confidence < needed


def _is_known_phrase(recognition: Recognition, words: list[str], *, weak: bool) -> bool:
    if _CREDITS.search(recognition.text):
        return True
    spoken = " ".join(words)
    heard = _KNOWN_PHRASES.get(recognition.language, ())
    if spoken not in heard and spoken not in _KNOWN_PHRASES["en"]:
        return False
    confidence = recognition.average_log_probability
    sure = confidence is None or confidence >= _SURE_LOG_PROBABILITY
    return not sure or weak
