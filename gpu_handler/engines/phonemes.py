"""Text to phonemes by espeak-ng, in the symbols that Kokoro was trained on.

espeak-ng is GPL-3: a separate process, no linking. One process speaks all clauses of an utterance (about 10 ms).
Kokoro's alphabet is IPA with one letter per affricate and, in English, per diphthong (capital letters), as its
vocabulary shows.
"""

# ruff: noqa: RUF001 - phonetic letters are what this module is about

from __future__ import annotations

import re
import subprocess
from functools import lru_cache

from livedub.errors import MissingPrerequisiteError

_TIMEOUT_S = 5.0
_TIE = "^"

ESPEAK_VOICES = {"en": "en-us", "en-gb": "en-gb", "es": "es", "fr": "fr-fr", "it": "it", "pt": "pt-br"}

_CLAUSES = re.compile(r"[^.,;:!?…]+[.,;:!?…]*|[.,;:!?…]+")
_PAUSE = re.compile(r"[.,;:!?…]+$")
_ABBREVIATION = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Sr|Sra|Srta|Dra|Ud|Uds)\.(?=\s)")
_INNER_POINT = re.compile(r"(?<=\d)[.,:](?=\d)")
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")
_IGNORED = re.compile(r"[\"'«»“”„()\[\]{}¿¡<>|*_#~^\\/\u2014\u2013-]+")

_AFFRICATES = {"t^ʃ": "ʧ", "d^ʒ": "ʤ", "t^s": "ʦ", "d^z": "ʣ", "t^ɕ": "ʨ", "d^ʑ": "ʥ"}
_DIPHTHONGS = {"a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "ɔ^ɪ": "Y", "o^ʊ": "O", "ə^ʊ": "Q"}
_ENGLISH = {
    "ɚ": "əɹ",
    "ɜː": "ɜɹ",
    "ɐ": "ə",
    "ɾ": "T",
    "ʔ": "t",
    "r": "ɹ",
    "x": "k",
    "ç": "k",
    "ɬ": "l",
    "ː": "",
}


def phonemes(text: str, language: str) -> str:
    """Kokoro's phonemes of `text`, its pauses kept as punctuation; empty when there is nothing to say.

    Args:
        text: plain text in that language.
        language: a key of `ESPEAK_VOICES`.

    Raises:
        MissingPrerequisiteError: espeak-ng is not installed.
    """
    clauses = _split(text)
    spoken = [words for words, _ in clauses]
    if not spoken:
        return ""
    voice = ESPEAK_VOICES[language]
    lines = _espeak(spoken, voice)
    if len(lines) != len(spoken):
        # espeak-ng broke a clause in two (an abbreviation, a dash): ask clause by clause
        lines = [" ".join(_espeak([words], voice)) for words in spoken]
    parts = [to_kokoro(line, language) + pause for line, (_, pause) in zip(lines, clauses, strict=True)]
    return " ".join(part for part in parts if part)


@lru_cache(maxsize=256)
def cached_phonemes(text: str, language: str) -> str:
    """`phonemes`, remembered: an utterance is measured before it is spoken."""
    return phonemes(text, language)


def to_kokoro(ipa: str, language: str) -> str:
    """espeak-ng's IPA (affricates and diphthongs tied) in Kokoro's alphabet."""
    result = " ".join(_LANGUAGE_SWITCH.sub("", ipa).split())
    replacements = {**_AFFRICATES, **_DIPHTHONGS}
    if language.startswith("en"):
        replacements |= _ENGLISH
    for symbols, letter in replacements.items():
        result = result.replace(symbols, letter)
    return result.replace(_TIE, "").replace("-", "")


def _split(text: str) -> list[tuple[str, str]]:
    """Clauses as (words, closing pause mark); a mark is one of `. , ; : ! ? …` or empty."""
    plain = _INNER_POINT.sub(lambda match: "\0" + match.group(), _ABBREVIATION.sub(r"\1", text))
    # a point inside a number is no pause: shield it from the splitter
    plain = re.sub(r"\0[.]", "\1", re.sub(r"\0,", "\2", re.sub(r"\0:", "\3", plain)))
    clauses: list[tuple[str, str]] = []
    for match in _CLAUSES.finditer(plain):
        clause = match.group()
        mark = _PAUSE.search(clause)
        words = _PAUSE.sub("", clause).replace("\1", ".").replace("\2", ",").replace("\3", ":")
        words = " ".join(_IGNORED.sub(" ", _keep_inner_marks(words)).split())
        if any(character.isalnum() for character in words):
            clauses.append((words, mark.group()[0] if mark else ""))
    return clauses


def _keep_inner_marks(words: str) -> str:
    """Apostrophes inside words stay (don't, l'eau); hyphens inside words become spaces."""
    return re.sub(r"(?<=\w)['\N{RIGHT SINGLE QUOTATION MARK}](?=\w)", "\N{MODIFIER LETTER APOSTROPHE}", words)


def _espeak(lines: list[str], voice: str) -> list[str]:
    text = "\n".join(lines).replace("\N{MODIFIER LETTER APOSTROPHE}", "'") + "\n"
    command = ["espeak-ng", "-q", "--ipa", f"--tie={_TIE}", "-v", voice]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except FileNotFoundError as error:
        raise MissingPrerequisiteError(
            "espeak-ng is not installed.", remedy="Run `make setup`, or install espeak-ng."
        ) from error
    return [line for line in done.stdout.split("\n") if line.strip()]
