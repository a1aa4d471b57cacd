"""Numbers of a text, written in digits or spelt out (English and Spanish), with their units.

What a number means depends on the language: "1.500" is fifteen hundred in Spanish and one and a half in English. A
number that could be an article or an ordinal ("un", "second") is `vague`: it may answer for another number, but none
has to answer for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from gpu_handler.quality.plain_text import plain

SPELLING_LANGUAGES = frozenset({"en", "es"})
"""Languages whose spelt-out numbers are understood."""

_POINT_FOR_THOUSANDS = frozenset({"de", "es", "it", "pt"})
_TOKEN = re.compile(
    r"\d+(?:[.,'\u00a0\u2009\u202f]\d+)*|[%$\u20ac\u00a3\u00a5]|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|[^\w\s]"
)
_LONGEST_DIGITS = 40
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_GROUP = r"[.,'\u00a0\u2009\u202f]"

_EN_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_EN_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_EN_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ES_ONES = (
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
    "dieciocho diecinueve veinte veintiuno veintidos veintitres veinticuatro veinticinco veintiseis veintisiete "
    "veintiocho veintinueve"
)
_ES_TENS = "treinta cuarenta cincuenta sesenta setenta ochenta noventa"
_ES_HUNDREDS = "doscient trescient cuatrocient quinient seiscient setecient ochocient novecient"
_ES_ORDINALS = "primer segund tercer cuart quint sext septim octav noven decim"

_UNITS = {
    "%": "%",
    "percent": "%",
    "prozent": "%",
    "\N{EURO SIGN}": "EUR",
    **dict.fromkeys(("euro", "euros"), "EUR"),
    "$": "USD",
    **dict.fromkeys(("dollar", "dollars", "dolar", "dolares", "dollaro", "dollari"), "USD"),
    "\N{POUND SIGN}": "GBP",
    "\N{YEN SIGN}": "JPY",
    **dict.fromkeys(("yen", "yenes"), "JPY"),
}
_PER_CENT = frozenset(
    {("per", "cent"), ("por", "ciento"), ("pour", "cent"), ("per", "cento"), ("por", "cento")}
)
_SYMBOLS = frozenset("$\u20ac\u00a3\u00a5")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number: every value it may have, its unit ("%", "EUR", "USD", "GBP", "JPY" or none), how it is written."""

    values: frozenset[Fraction]
    written: str
    unit: str = ""
    vague: bool = False
    in_digits: bool = False


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How one language spells numbers: `scales` multiply all that came before them."""

    small: Mapping[str, int]
    tens: Mapping[str, int]
    hundreds: Mapping[str, int]
    scales: Mapping[str, int]
    vague: Mapping[str, int]
    links: frozenset[str]
    points: frozenset[str]


def _numbered(words: str, start: int, step: int = 1) -> dict[str, int]:
    return {word: start + index * step for index, word in enumerate(words.split())}


def _endings(stems: str, endings: str, start: int, step: int = 1) -> dict[str, int]:
    return {
        stem + ending: value
        for stem, value in _numbered(stems, start, step).items()
        for ending in endings.split("|")
    }


_ENGLISH = _Spelling(
    small=_numbered(_EN_ONES, 0),
    tens=_numbered(_EN_TENS, 20, 10),
    hundreds={"hundred": 100},
    scales={"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    vague={**_numbered(_EN_ORDINALS, 1), "one": 1, "dozen": 12},
    links=frozenset({"and"}),
    points=frozenset({"point"}),
)
_SPANISH = _Spelling(
    small={**_numbered(_ES_ONES, 0), "un": 1, "una": 1, "veintiun": 21, "veintiuna": 21},
    tens=_numbered(_ES_TENS, 30, 10),
    hundreds={"cien": 100, "ciento": 100, **_endings(_ES_HUNDREDS, "os|as", 200, 100)},
    scales={
        "mil": 10**3,
        **dict.fromkeys(("millon", "millones"), 10**6),
        **dict.fromkeys(("billon", "billones"), 10**12),
    },
    vague={**_endings(_ES_ORDINALS, "|o|a|os|as", 1), "un": 1, "una": 1, "uno": 1, "docena": 12},
    links=frozenset({"y"}),
    points=frozenset({"coma", "punto"}),
)
_SPELLINGS = {"en": _ENGLISH, "es": _SPANISH}


def quantities(text: str, language: str) -> tuple[Quantity, ...]:
    """Every number of `text`, in order; spelt-out ones for `SPELLING_LANGUAGES` only."""
    tokens = _TOKEN.findall(_HYPHEN.sub(" ", text))
    words = [plain(token) for token in tokens]
    found: list[Quantity] = []
    at = 0
    while at < len(tokens):
        if tokens[at][0].isdecimal():
            values, end = _read_digits(tokens[at], words, at + 1, language)
        else:
            values, end = _read_spelt(words, at, _SPELLINGS.get(language))
        if not values:
            at += 1
            continue
        unit, after = _unit(words, at, end)
        found.append(
            Quantity(
                values=values,
                written=" ".join(tokens[at:end]),
                unit=unit,
                vague=end == at + 1 and _is_vague(words[at], language),
                in_digits=tokens[at][0].isdecimal(),
            )
        )
        at = after
    return tuple(found)


def _is_vague(word: str, language: str) -> bool:
    spelling = _SPELLINGS.get(language)
    return spelling is not None and word in spelling.vague


def _read_digits(token: str, words: list[str], end: int, language: str) -> tuple[frozenset[Fraction], int]:
    """What a number in digits may mean, scale words behind it ("2,5 millones") included."""
    values = _digit_values(token, language)
    spelling = _SPELLINGS.get(language)
    while spelling is not None and end < len(words) and words[end] in spelling.scales:
        values = {value * spelling.scales[words[end]] for value in values}
        end += 1
    return frozenset(values), end


def _digit_values(token: str, language: str) -> set[Fraction]:
    """By the language's own marks, and by the other's where that makes groups of three; none of a row of digits."""
    if len(token) > _LONGEST_DIGITS:
        return set()
    parts = re.split(_GROUP, token)
    if len(parts) == 1:
        return {Fraction(token)}
    grouped = all(len(part) == 3 for part in parts[1:]) and len(parts[0]) <= 3
    whole = Fraction("".join(parts))
    mark = token[len(parts[0])]
    if len(parts) > 2:
        if grouped and len(set(re.findall(_GROUP, token))) == 1:
            return {whole}
        return {Fraction(f"{''.join(parts[:-1])}.{parts[-1]}")}
    decimal = Fraction(f"{parts[0]}.{parts[1]}")
    if not grouped:
        return {decimal}
    for_thousands = "." if language in _POINT_FOR_THOUSANDS else ","
    return {whole} if mark not in ".," or mark == for_thousands else {whole, decimal}


def _read_spelt(words: list[str], at: int, spelling: _Spelling | None) -> tuple[frozenset[Fraction], int]:
    """The number spelt out from `at` on, and where it ends; no value where there is none."""
    if spelling is None:
        return frozenset(), at
    number = _Spelt(spelling)
    end = number.read(words, at)
    if end == at:
        vague = spelling.vague.get(words[at])
        return (frozenset(), at) if vague is None else (frozenset({Fraction(vague)}), at + 1)
    year, year_end = _read_year(words, end, number.value, spelling)
    if year_end > end:
        return frozenset({Fraction(year)}), year_end
    decimals, end = _read_decimals(words, end, spelling)
    return frozenset({Fraction(f"{number.value}.{decimals or 0}")}), end


class _Spelt:
    """Adds up the words of one whole number: "two hundred and five thousand", "tres mil millones"."""

    def __init__(self, spelling: _Spelling) -> None:
        self._spelling = spelling
        self._scaled = 0
        self._open = 0
        self._least_scale = 10**15
        self._room = 10**15
        """What is added must be smaller: after "twenty" a digit, after "hundred" two, nothing after "seven"."""

    @property
    def value(self) -> int:
        return self._scaled + self._open

    def read(self, words: list[str], at: int) -> int:
        """Take words from `at` on as long as they go on with the number; where the first one is that does not."""
        start = at
        while at < len(words):
            linked = at > start and words[at] in self._spelling.links and self._links(words, at + 1)
            word = at + 1 if linked else at
            if not self._take(words[word], linked=linked):
                break
            at = word + 1
        return at

    def _links(self, words: list[str], at: int) -> bool:
        """Whether a link word here belongs to the number: English after hundreds, Spanish between tens and ones."""
        if at >= len(words):
            return False
        added = self._spelling.small.get(words[at], 0) or self._spelling.tens.get(words[at], 0)
        if self._spelling is _SPANISH:
            return self._room == 10 and 0 < added < 10
        return self._room >= 100 and added > 0

    def _take(self, word: str, *, linked: bool) -> bool:
        spelling = self._spelling
        if word in spelling.scales:
            return self._scale(spelling.scales[word])
        if word in spelling.hundreds:
            return self._hundred(spelling.hundreds[word])
        if spelling is _SPANISH and self._room == 10 and not linked:
            return False
        if word in spelling.tens:
            return self._add(spelling.tens[word], room=10)
        return word in spelling.small and self._add(spelling.small[word], room=1)

    def _add(self, amount: int, *, room: int) -> bool:
        if amount >= self._room or (amount == 0 and self.value):
            return False
        self._open += amount
        self._room = room
        return True

    def _hundred(self, amount: int) -> bool:
        if self._spelling is _ENGLISH and 0 < self._open < 100 and self._room <= 10:
            self._open *= 100
            self._room = 100
            return True
        return self._add(amount, room=100)

    def _scale(self, scale: int) -> bool:
        if scale > self._least_scale:  # "tres mil millones": all of it is multiplied
            self._scaled, self._open = self.value * scale, 0
        elif scale == self._least_scale:
            return False
        else:
            self._scaled, self._open = self._scaled + max(self._open, 1) * scale, 0
        self._least_scale = self._room = scale
        return True


def _read_year(words: list[str], at: int, century: int, spelling: _Spelling) -> tuple[int, int]:
    """English years are said in two halves: "nineteen ninety-nine", "nineteen oh five"."""
    if spelling is not _ENGLISH or not 13 <= century <= 20:
        return 0, at
    oh = at < len(words) and words[at] == "oh"
    rest = _Spelt(spelling)
    end = rest.read(words, at + oh)
    fits = end > at + oh and (1 <= rest.value <= 9 if oh else 10 <= rest.value <= 99)
    return (century * 100 + rest.value, end) if fits else (0, at)


def _read_decimals(words: list[str], at: int, spelling: _Spelling) -> tuple[str, int]:
    """Digits behind a spoken point: "three point one four", "tres coma catorce"."""
    if at >= len(words) or words[at] not in spelling.points:
        return "", at
    digits, end = "", at + 1
    while end < len(words):
        part = _Spelt(spelling)
        after = part.read(words, end)
        if after == end or part.value > 99:
            break
        digits, end = digits + str(part.value), after
    return (digits, end) if digits else ("", at)


def _unit(words: list[str], start: int, end: int) -> tuple[str, int]:
    """The unit of the number in `words[start:end]`, and where reading goes on."""
    if start and words[start - 1] in _SYMBOLS:
        return _UNITS[words[start - 1]], end
    at = end + (words[end : end + 1] in (["of"], ["de"]))
    if tuple(words[at : at + 2]) in _PER_CENT:
        return "%", at + 2
    return (_UNITS[words[at]], at + 1) if at < len(words) and words[at] in _UNITS else ("", end)
