"""Counting words: error rate and recall, on texts brought to one spelling."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_CONTRACTIONS = (
    (r"\b(can)not\b", r"\1 not"),
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'ll\b", " will"),
    (r"'ve\b", " have"),
    (r"'m\b", " am"),
    (r"\b(it|he|she|that|there|here|what|who|where)'s\b", r"\1 is"),
    (r"\blet's\b", "let us"),
)

_ENGLISH_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_ENGLISH_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SPANISH_ONES = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
]
_SPANISH_TENS = [
    "-",
    "-",
    "-",
    "treinta",
    "cuarenta",
    "cincuenta",
    "sesenta",
    "setenta",
    "ochenta",
    "noventa",
]
_SPANISH_HUNDREDS = [
    "-",
    "ciento",
    "doscientos",
    "trescientos",
    "cuatrocientos",
    "quinientos",
    "seiscientos",
    "setecientos",
    "ochocientos",
    "novecientos",
]

_STOP_WORDS = {
    "en": frozenset(
        [
            "a",
            "an",
            "the",
            "this",
            "that",
            "these",
            "those",
            "and",
            "or",
            "but",
            "if",
            "so",
            "as",
            "of",
            "in",
            "on",
            "at",
            "to",
            "for",
            "from",
            "with",
            "by",
            "about",
            "into",
            "over",
            "after",
            "before",
            "up",
            "down",
            "out",
            "off",
            "i",
            "you",
            "he",
            "she",
            "it",
            "we",
            "they",
            "me",
            "him",
            "her",
            "us",
            "them",
            "my",
            "your",
            "his",
            "its",
            "our",
            "their",
            "is",
            "are",
            "was",
            "were",
            "be",
            "been",
            "being",
            "am",
            "do",
            "does",
            "did",
            "have",
            "has",
            "had",
            "will",
            "would",
            "can",
            "could",
            "shall",
            "should",
            "may",
            "might",
            "must",
            "not",
            "no",
            "there",
            "here",
            "what",
            "which",
            "who",
            "when",
            "where",
            "how",
            "very",
            "more",
            "most",
            "some",
            "any",
            "all",
            "with",
            "than",
            "then",
            "too",
            "just",
            "also",
            "now",
            "let",
            "lot",
        ]
    ),
    "es": frozenset(
        [
            "un",
            "una",
            "unos",
            "unas",
            "el",
            "la",
            "los",
            "las",
            "lo",
            "este",
            "esta",
            "estos",
            "estas",
            "ese",
            "esa",
            "esos",
            "esas",
            "y",
            "o",
            "pero",
            "si",
            "de",
            "del",
            "en",
            "a",
            "al",
            "para",
            "por",
            "con",
            "sin",
            "sobre",
            "entre",
            "hasta",
            "desde",
            "yo",
            "tú",
            "él",
            "ella",
            "nosotros",
            "ellos",
            "ellas",
            "me",
            "te",
            "se",
            "nos",
            "le",
            "les",
            "mi",
            "tu",
            "su",
            "sus",
            "nuestro",
            "nuestra",
            "es",
            "son",
            "era",
            "eran",
            "ser",
            "está",
            "están",
            "estar",
            "ha",
            "han",
            "haber",
            "no",
            "muy",
            "más",
            "que",
            "qué",
            "como",
            "cómo",
            "cuando",
            "donde",
            "quien",
            "ya",
            "también",
            "ahora",
            "hay",
        ]
    ),
}

_ENGLISH_ENDINGS = ("ings", "ing", "edly", "ed", "es", "ly", "s", "e")
_SPANISH_ENDINGS = (
    "amente",
    "ando",
    "iendo",
    "aron",
    "ieron",
    "aba",
    "ía",
    "es",
    "as",
    "os",
    "s",
    "a",
    "o",
    "e",
)
_SHORTEST_STEM = 3


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Substitutions, deletions and insertions against a reference of `words` words."""

    edits: int
    words: int

    @property
    def rate(self) -> float:
        """Word error rate; over 1 where more is wrong than was said."""
        return self.edits / self.words if self.words else float(self.edits > 0)


def tokens(text: str, language: str) -> list[str]:
    """Words in lower case, without punctuation; numbers spelled out, English contractions opened."""
    lowered = text.lower().replace("\u2019", "'").replace("-", " ").replace("\u2013", " ")
    lowered = re.sub(r"(?<=\d)[.,](?=\d{3}\b)", "", lowered)
    lowered = lowered.replace("%", " percent " if language == "en" else " por ciento ")
    if language == "en":
        for pattern, opened in _CONTRACTIONS:
            lowered = re.sub(pattern, opened, lowered)
        lowered = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", lowered)
    words = re.findall(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)?", lowered)
    return [part for word in words for part in _spelled(word, language)]


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Edit distance over words (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, word in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != word))
    return WordErrors(row[-1], len(reference))


def content_words(text: str, language: str) -> Counter[str]:
    """Stems of the words that carry meaning, with how often each occurs."""
    stop = _STOP_WORDS.get(language, frozenset())
    return Counter(stem(word, language) for word in tokens(text, language) if word not in stop)


def recall(reference: Counter[str], heard: Counter[str]) -> float | None:
    """Share of the reference's words that were heard, each as often as it occurs there; None for no words."""
    total = reference.total()
    return (reference & heard).total() / total if total else None


def stem(word: str, language: str) -> str:
    """A word without its ending, by a short list of suffixes: singular and plural, tenses and adverbs meet."""
    if language == "en" and word.endswith("ies") and len(word) > _SHORTEST_STEM + 1:
        return word[:-2]
    endings = {"en": _ENGLISH_ENDINGS, "es": _SPANISH_ENDINGS}.get(language, ())
    for ending in endings:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    if len(word) > _SHORTEST_STEM and word[-1] == word[-2]:
        word = word[:-1]  # running, stopped
    return word[:-1] + "i" if len(word) > _SHORTEST_STEM and word.endswith("y") else word


def _spelled(word: str, language: str) -> list[str]:
    if not word.isdigit() or len(word) > 6:
        return [word]
    spell = {"en": _english_number, "es": _spanish_number}.get(language)
    return spell(int(word)) if spell else [word]


def _english_number(number: int) -> list[str]:
    if number >= 1_000:
        rest = _english_number(number % 1_000) if number % 1_000 else []
        return [*_english_number(number // 1_000), "thousand", *rest]
    if number >= 100:
        rest = _english_number(number % 100) if number % 100 else []
        return [_ENGLISH_ONES[number // 100], "hundred", *rest]
    if number >= 20:
        return [_ENGLISH_TENS[number // 10], *([_ENGLISH_ONES[number % 10]] if number % 10 else [])]
    return [_ENGLISH_ONES[number]]


def _spanish_number(number: int) -> list[str]:
    if number >= 1_000:
        thousands = [] if number < 2_000 else _spanish_number(number // 1_000)
        return [*thousands, "mil", *(_spanish_number(number % 1_000) if number % 1_000 else [])]
    if number == 100:
        return ["cien"]
    if number > 100:
        rest = _spanish_number(number % 100) if number % 100 else []
        return [_SPANISH_HUNDREDS[number // 100], *rest]
    if number >= 30:
        ones = ["y", _SPANISH_ONES[number % 10]] if number % 10 else []
        return [_SPANISH_TENS[number // 10], *ones]
    return [_SPANISH_ONES[number]]
