"""Months and days of the week as they are said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from gpu_handler.quality.plain_text import plain

_MONTHS = {
    "de": "januar februar marz april mai juni juli august september oktober november dezember",
    "en": "january february march april may june july august september october november december",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "fr": "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro",
}
_WEEKDAYS = {
    "de": "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    "en": "monday tuesday wednesday thursday friday saturday sunday",
    "es": "lunes martes miercoles jueves viernes sabado domingo",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "it": "lunedi martedi mercoledi giovedi venerdi sabato domenica",
    "pt": "segunda terca quarta quinta sexta sabado domingo",
}
_OTHER_MEANINGS = frozenset(
    {
        *(("en", word) for word in ("may", "march", "august")),
        *(("pt", word) for word in ("segunda", "terca", "quarta", "quinta", "sexta", "marco", "domingo")),
        ("es", "domingo"),
        ("fr", "mars"),
    }
)
"""Words that are also verbs, names or ordinals: they count as certain beside a number alone."""

_TOKEN = re.compile(r"\d+|[^\W\d_]+")
_BETWEEN = frozenset({"de", "del", "do", "of", "the"})

CALENDAR_LANGUAGES = frozenset(_MONTHS)


class CalendarKind(str, Enum):
    """What a word names."""

    MONTH = "month"
    WEEKDAY = "weekday"


@dataclass(frozen=True, slots=True)
class Mention:
    """A month (1 to 12) or a day of the week (1 is Monday); not `certain` where the word may mean something else."""

    kind: CalendarKind
    number: int
    written: str
    certain: bool = True


def mentions(text: str, language: str) -> tuple[Mention, ...]:
    """Every month and day of the week in `text`, in order; none in a language that is not known."""
    return tuple(_mentions(text, language)) if language in CALENDAR_LANGUAGES else ()


def _mentions(text: str, language: str) -> Iterator[Mention]:
    tokens = _TOKEN.findall(text)
    words = [plain(token) for token in tokens]
    tables = (
        (CalendarKind.MONTH, _MONTHS[language].split()),
        (CalendarKind.WEEKDAY, _WEEKDAYS[language].split()),
    )
    for at, word in enumerate(words):
        certain = (language, word) not in _OTHER_MEANINGS or _beside_number(words, at)
        for kind, names in tables:
            if word in names:
                yield Mention(kind, names.index(word) + 1, tokens[at], certain)


def _beside_number(words: list[str], at: int) -> bool:
    """Whether digits stand before or behind the word, links ("3 de mayo") aside."""
    before = [word for word in words[max(0, at - 2) : at] if word not in _BETWEEN]
    after = [word for word in words[at + 1 : at + 3] if word not in _BETWEEN]
    return bool((before and before[-1].isdecimal()) or (after and after[0].isdecimal()))
