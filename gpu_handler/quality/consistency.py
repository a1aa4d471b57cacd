"""Does a translation say the same numbers, names and terms as its source?

A translator that invents or drops a figure or a name does so fluently; nobody hears it on the air. The checks err on
the side of silence: what may be right is no problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from fractions import Fraction

from gpu_handler.guards import runs_away
from gpu_handler.quality.calendar_words import CALENDAR_LANGUAGES, CalendarKind, Mention, mentions
from gpu_handler.quality.number_words import SPELLING_LANGUAGES, Quantity, quantities
from gpu_handler.quality.plain_text import plain
from gpu_handler.quality.terms import missing_terms

_LIKE = 0.6
"""Likeness of a name and its form in another language ("Londres", "London")."""

_SHOWN = 60
_SHORTEST_LIKE = 4
_SENTENCE_END = ".!?:\N{HORIZONTAL ELLIPSIS}\N{INVERTED QUESTION MARK}\N{INVERTED EXCLAMATION MARK}"
_MONTHS = range(1, 13)
_WORD = re.compile(r"[^\W\d_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}-][^\W\d_]+)*")
_NOUNS_CAPITALISED = frozenset({"de"})
_CAPITALISED_WORDS = frozenset(
    # days, months, languages, peoples and titles that English writes with a capital letter
    {
        *("i", "mr", "mrs", "ms", "dr", "sir", "god", "ok", "tv"),
        *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        *("january", "february", "march", "april", "may", "june", "july"),
        *("august", "september", "october", "november", "december"),
        *(
            "english",
            "spanish",
            "french",
            "german",
            "italian",
            "portuguese",
            "dutch",
            "greek",
            "polish",
            "turkish",
        ),
        *(
            "american",
            "british",
            "european",
            "african",
            "asian",
            "russian",
            "chinese",
            "japanese",
            "arab",
            "indian",
        ),
        *("sr", "sra", "don", "dona", "usted", "ustedes", "dios"),
    }
)
_EXONYMS = (
    frozenset({"germany", "alemania", "allemagne", "germania", "alemanha", "deutschland"}),
    frozenset({"spain", "espana", "espagne", "spagna", "espanha", "spanien"}),
    frozenset({"wales", "gales", "galles", "pays"}),
    frozenset({"england", "inglaterra", "angleterre", "inghilterra"}),
    frozenset({"scotland", "escocia", "ecosse", "scozia", "schottland"}),
    frozenset({"netherlands", "holland", "holanda", "paises", "pays", "paesi", "niederlande"}),
    frozenset({"kingdom", "reino", "royaume", "regno"}),
    frozenset({"states", "estados", "etats", "stati", "staaten"}),
    frozenset({"united", "unido", "unidos", "unis", "uniti", "unito", "vereinigte", "naciones", "nations"}),
    frozenset({"london", "londres", "londra"}),
    frozenset({"york", "nueva", "nova"}),
    frozenset({"switzerland", "suiza", "suisse", "svizzera", "suica", "schweiz"}),
    frozenset({"japan", "japon", "giappone", "japao"}),
    frozenset({"greece", "grecia", "grece", "griechenland"}),
    frozenset({"sweden", "suecia", "suede", "svezia", "schweden"}),
    frozenset({"europe", "europa"}),
    frozenset({"seville", "sevilla", "siviglia"}),
    frozenset({"christmas", "navidad", "noel", "natale", "natal", "weihnachten"}),
)
"""Places whose names differ too much between languages to be recognised as the same; accents left out."""


class ProblemKind(str, Enum):
    """What a translation got wrong."""

    NUMBER_MISSING = "number_missing"
    NUMBER_ADDED = "number_added"
    UNIT = "unit"
    DATE = "date"
    NAME = "name"
    RUNAWAY = "runaway"
    TERM = "term"


@dataclass(frozen=True, slots=True)
class Problem:
    """One doubt about a translation: what was expected in it, or what stands there without cause."""

    kind: ProblemKind
    what: str

    @property
    def weight(self) -> float:
        """How much it speaks against the translation: a wrong figure most, a name (it may be translated) least."""
        return _WEIGHTS[self.kind]

    @property
    def unusable(self) -> bool:
        """Whether no translation at all is better than this one."""
        return self.kind is ProblemKind.RUNAWAY


_WEIGHTS = {
    ProblemKind.NUMBER_MISSING: 3.0,
    ProblemKind.NUMBER_ADDED: 3.0,
    ProblemKind.UNIT: 2.0,
    ProblemKind.DATE: 2.0,
    ProblemKind.TERM: 2.0,
    ProblemKind.NAME: 1.0,
    ProblemKind.RUNAWAY: 20.0,
}


def check(
    source_text: str, translated_text: str, source: str, target: str, glossary: Mapping[str, str]
) -> tuple[Problem, ...]:
    """What of `source_text` is missing in `translated_text` or was added to it.

    Args:
        source_text: the transcript.
        translated_text: its translation, terms restored.
        source: language of the transcript.
        target: language of the translation.
        glossary: the target language's terms; their words are not checked as names.
    """
    said, heard = quantities(source_text, source), quantities(translated_text, target)
    said_days, heard_days = mentions(source_text, source), mentions(translated_text, target)
    terms = missing_terms(source_text, translated_text, glossary, source=source, target=target)
    return (
        *_runaway_problems(source_text, translated_text),
        *_number_problems(
            (*said, *_as_numbers(said_days)), (*heard, *_as_numbers(heard_days)), source, target
        ),
        *_unit_problems(said, heard),
        *_date_problems(said_days, heard_days, heard, target),
        *_date_problems(heard_days, said_days, said, source),
        *(Problem(ProblemKind.TERM, f"{term.term} -> {term.wanted}") for term in terms),
        *_name_problems(source_text, translated_text, source, glossary),
    )


def penalty(problems: Sequence[Problem]) -> float:
    """Sum of the problems' weights: of two candidates, the one with less is preferred."""
    return sum(problem.weight for problem in problems)


def _runaway_problems(source_text: str, translated_text: str) -> Iterator[Problem]:
    if runs_away(translated_text, source_text):
        yield Problem(ProblemKind.RUNAWAY, translated_text[:_SHOWN])


def _number_problems(
    said: Sequence[Quantity], heard: Sequence[Quantity], source: str, target: str
) -> Iterator[Problem]:
    """Numbers of either side that the other lacks, as far as the other's way to write them is understood."""
    if target in SPELLING_LANGUAGES:
        for quantity in _unmatched(said, heard):
            yield Problem(ProblemKind.NUMBER_MISSING, quantity.written)
    if source in SPELLING_LANGUAGES:
        for quantity in _unmatched(heard, said):
            yield Problem(ProblemKind.NUMBER_ADDED, quantity.written)


def _unmatched(wanted: Sequence[Quantity], offered: Sequence[Quantity]) -> list[Quantity]:
    """Each offered number answers for one wanted; exact ones are taken before vague ones."""
    left = sorted(offered, key=lambda quantity: quantity.vague)
    missing: list[Quantity] = []
    for quantity in wanted:
        if quantity.vague:
            continue
        match = next((other for other in left if other.values & quantity.values), None)
        if match is None:
            missing.append(quantity)
        else:
            left.remove(match)
    return missing


def _unit_problems(said: Sequence[Quantity], heard: Sequence[Quantity]) -> Iterator[Problem]:
    """A unit counts where the translation keeps the number but gives it another unit, or none it has anywhere."""
    for quantity in said:
        same = [other for other in heard if other.values & quantity.values]
        if quantity.unit and same and all(other.unit != quantity.unit for other in same):
            yield Problem(ProblemKind.UNIT, f"{quantity.written} {quantity.unit}")


def _as_numbers(days: Sequence[Mention]) -> Iterator[Quantity]:
    """Months as numbers that "3/5" may stand for."""
    for day in days:
        if day.kind is CalendarKind.MONTH:
            yield Quantity(frozenset({Fraction(day.number)}), day.written, vague=True)


def _date_problems(
    wanted: Sequence[Mention], offered: Sequence[Mention], numbers: Sequence[Quantity], language: str
) -> Iterator[Problem]:
    """Months and days that the other side, in `language`, neither names nor has as a number."""
    if language not in CALENDAR_LANGUAGES:
        return
    known = {(day.kind, day.number) for day in offered}
    known |= {
        (CalendarKind.MONTH, int(value)) for number in numbers for value in number.values if value <= 12
    }
    for day in wanted:
        if day.certain and (day.kind, day.number) not in known:
            yield Problem(ProblemKind.DATE, day.written)


def _name_problems(
    source_text: str, translated_text: str, source: str, glossary: Mapping[str, str]
) -> Iterator[Problem]:
    if source in _NOUNS_CAPITALISED:
        return
    said = {plain(word) for word in _WORD.findall(translated_text)}
    acronym_said = any(len(word) > 1 and word.isupper() for word in _WORD.findall(translated_text))
    known = {plain(word) for term in glossary for word in _WORD.findall(term)}
    for name in dict.fromkeys(_names(source_text)):
        folded = plain(name)
        if folded in known or folded in _CAPITALISED_WORDS or (name.isupper() and acronym_said):
            continue
        if not any(_is_same_name(folded, word) for word in said):
            yield Problem(ProblemKind.NAME, name)


def _names(text: str) -> Iterator[str]:
    """Capitalised words that do not begin a sentence; none where everything is in capitals."""
    if text.isupper():
        return
    for match in _WORD.finditer(text):
        before = text[: match.start()].rstrip(
            " \t\n\"'([\N{LEFT DOUBLE QUOTATION MARK}\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}-"
        )
        if (
            before
            and before[-1] not in _SENTENCE_END
            and match.group()[0].isupper()
            and len(match.group()) > 1
        ):
            yield re.sub(r"['\N{RIGHT SINGLE QUOTATION MARK}]s?$", "", match.group())


def _is_same_name(name: str, word: str) -> bool:
    if name == word or any(name in names and word in names for names in _EXONYMS):
        return True
    if min(len(name), len(word)) < _SHORTEST_LIKE:
        return False
    return name[:4] == word[:4] or SequenceMatcher(None, name, word).ratio() >= _LIKE
