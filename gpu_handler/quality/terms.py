"""Glossary terms through translation: each leaves as a code word and comes back in the wording that is wanted.

A translator copies what looks like a product code ("KX-1"): rule-based ones because they do not know it, neural ones
because they have seen many (Dinu et al., ACL 2019, weigh this against training for it). Neural ones swallow some all
the same. `restore` names those, so that the caller can translate the plain text and have it put right by `post_edit`.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from gpu_handler.quality.inflection import plural
from gpu_handler.quality.plain_text import UNSPACED

_STEMS = ("KX", "QZ", "WX", "ZK", "QX")
_DASHES = "\\-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}_"
_CURLY = "\N{RIGHT SINGLE QUOTATION MARK}"
_LONGEST_ACRONYM = 5
_COMPILED = 64
_SENTENCE_END = ".!?\N{HORIZONTAL ELLIPSIS}"
_OPENING = " \t\n\"'([{\N{INVERTED QUESTION MARK}\N{INVERTED EXCLAMATION MARK}\N{LEFT DOUBLE QUOTATION MARK}\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place of a text where a term was: the glossary's key, and what is to be said there."""

    term: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Protected:
    """A text whose terms are code words: `stem`, a hyphen and the number (from 1) of the occurrence."""

    text: str
    occurrences: tuple[Occurrence, ...]
    stem: str
    starts_sentence: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A translation with its terms back; `lost` are the terms whose code words it did not hold."""

    text: str
    lost: tuple[str, ...] = ()


def protect(text: str, glossary: Mapping[str, str], *, source: str = "", target: str = "") -> Protected:
    """Put code words in the place of glossary terms; where terms overlap, the longest counts.

    A term matches whole words in any case, short acronyms ("US") in their own; a term in the plural matches as well
    where the plural of both the term and its wording can be formed. A term mapped to itself stays as the glossary
    spells it.

    Args:
        text: in the source language.
        glossary: terms to wordings; blank terms are passed over.
        source: language of the terms, for their plurals; empty for none.
        target: language of the wordings.
    """
    terms = _compile(glossary, source, target)
    starts = next((letter.isupper() for letter in text if letter.isalpha()), False)
    if terms is None:
        return Protected(text, (), _STEMS[0], starts)
    stem = next(stem for stem in _stems() if not _holds(text, stem) and not _holds(terms.wordings, stem))
    occurrences: list[Occurrence] = []

    def encode(occurrence: Occurrence) -> str:
        occurrences.append(occurrence)
        return f"{stem}-{len(occurrences)}"

    return Protected(terms.replace(text, encode), tuple(occurrences), stem, starts)


def restore(translated: str, protected: Protected) -> Restored:
    """Put the wanted wordings in the place of the code words.

    Code words are recognised in any case, with other dashes or spaces inside. Remains of them are removed: none is
    ever left in the text.
    """
    if not protected.occurrences:
        return Restored(translated)
    found: set[int] = set()

    def decode(match: re.Match[str]) -> str:
        number = int(match["number"]) if match["number"] and len(match["number"]) <= 6 else 0
        if not 1 <= number <= len(protected.occurrences):
            return ""
        found.add(number)
        wanted = protected.occurrences[number - 1].wanted
        before = match.string[: match.start()]
        return _capitalised(wanted) if _begins_sentence(before, protected) else wanted

    text = _code_words(protected.stem).sub(decode, translated)
    lost = [o.term for number, o in enumerate(protected.occurrences, start=1) if number not in found]
    return Restored(" ".join(text.split()) if lost else text, tuple(dict.fromkeys(lost)))


def post_edit(
    translated: str,
    glossary: Mapping[str, str],
    *,
    source: str = "",
    target: str = "",
    renderings: Mapping[str, str] | None = None,
) -> str:
    """Terms that came through translation unprotected, in the wording that is wanted.

    Args:
        translated: in the target language.
        glossary: terms to wordings.
        source: language of the terms, for their plurals.
        target: language of the wordings.
        renderings: what the translator makes of a term alone, by term: replaced as well.
    """
    known = {rendering: glossary[term] for term, rendering in (renderings or {}).items() if term in glossary}
    wordings = {wanted: wanted for wanted in glossary.values()}
    edited = _replace(translated, {**glossary, **wordings}, source, target)
    return _replace(edited, {**known, **wordings}, target, target) if known else edited


def missing_terms(
    text: str, translated: str, glossary: Mapping[str, str], *, source: str = "", target: str = ""
) -> tuple[Occurrence, ...]:
    """Terms of `text` whose wanted wording `translated` does not hold, in any case and with any ending."""
    spoken = " ".join(translated.casefold().split())
    missing = {
        occurrence.term: occurrence
        for occurrence in protect(text, glossary, source=source, target=target).occurrences
        if not re.search(
            rf"(?<![^\W{UNSPACED}]){re.escape(' '.join(occurrence.wanted.casefold().split()))}", spoken
        )
    }
    return tuple(missing.values())


def glossary_of(shared: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The glossary of one target language: its `own` terms win over the `shared` ones, in whatever case."""
    owned = {term.casefold() for term in own}
    return {**{term: wanted for term, wanted in shared.items() if term.casefold() not in owned}, **own}


@dataclass(frozen=True, slots=True)
class _Terms:
    """A glossary as one pattern; `forms` has what each match may be, by its key."""

    pattern: re.Pattern[str]
    forms: Mapping[str, tuple[tuple[str, Occurrence], ...]]
    wordings: str

    def occurrence(self, match: re.Match[str]) -> Occurrence | None:
        """The term that was found; None where only its case differs and that matters."""
        found = match.group()
        for form, occurrence in self.forms.get(_key(found), ()):
            if not _is_acronym(form) or form == found:
                return occurrence
        return None

    def replace(self, text: str, wording: Callable[[Occurrence], str]) -> str:
        """`text` with `wording` of each term in its place."""

        def said(match: re.Match[str]) -> str:
            occurrence = self.occurrence(match)
            return match.group() if occurrence is None else wording(occurrence)

        return self.pattern.sub(said, text)


def _compile(glossary: Mapping[str, str], source: str, target: str) -> _Terms | None:
    return _compiled(tuple(sorted(glossary.items())), source, target)


@lru_cache(maxsize=_COMPILED)
def _compiled(glossary: tuple[tuple[str, str], ...], source: str, target: str) -> _Terms | None:
    """The same glossary comes with every fragment of a stream; 500 terms take a while to compile."""
    named = [(term, wanted) for term, wanted in glossary if term.strip()]
    forms = {term: Occurrence(term, wanted) for term, wanted in named}
    for term, wanted in named:
        several = _plural_form(term, wanted, source, target)
        if several is not None:
            forms.setdefault(several[0], Occurrence(term, several[1]))
    if not forms:
        return None
    by_key: dict[str, tuple[tuple[str, Occurrence], ...]] = {}
    for form, occurrence in forms.items():
        by_key[_key(form)] = (*by_key.get(_key(form), ()), (form.strip(), occurrence))
    return _Terms(
        pattern=_pattern(forms),
        forms=by_key,
        wordings="\n".join(occurrence.wanted for occurrence in forms.values()),
    )


def _key(form: str) -> str:
    return " ".join(form.casefold().replace(_CURLY, "'").split())


def _pattern(forms: Iterable[str]) -> re.Pattern[str]:
    """All forms, the longest first. A code word must not touch a digit, nor a letter where words are spaced."""
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    spaced = [_form_pattern(form) for form in longest_first if not _is_unspaced(form.strip())]
    unspaced = [_form_pattern(form) for form in longest_first if _is_unspaced(form.strip())]
    parts: list[str] = []
    if spaced:
        parts.append(rf"(?<![^\W{UNSPACED}])(?:{'|'.join(spaced)})(?![^\W{UNSPACED}])")
    if unspaced:
        parts.append(rf"(?:{'|'.join(unspaced)})(?!\d)")
    return re.compile("|".join(parts), re.IGNORECASE)


def _form_pattern(form: str) -> str:
    words = form.replace(_CURLY, "'").split()
    return r"\s+".join(re.escape(word).replace("'", f"['{_CURLY}]") for word in words)


def _is_unspaced(form: str) -> bool:
    return re.search(rf"^[{UNSPACED}]|[{UNSPACED}]$", form) is not None


def _plural_form(term: str, wanted: str, source: str, target: str) -> tuple[str, str] | None:
    """The term in the plural and how that is said, where both can be formed."""
    if not term.strip() or not wanted.strip() or _is_acronym(term):
        return None
    spoken = plural(term, source)
    if not spoken:
        return None
    said = spoken if term.casefold() == wanted.casefold() else plural(wanted, target)
    return (spoken, said) if said else None


def _is_acronym(term: str) -> bool:
    return 1 < len(term) <= _LONGEST_ACRONYM and term.isupper() and term.isalpha()


def _replace(text: str, glossary: Mapping[str, str], source: str, target: str) -> str:
    terms = _compile(glossary, source, target)
    return text if terms is None else terms.replace(text, lambda occurrence: occurrence.wanted)


def _stems() -> Iterator[str]:
    """Letters for code words, the proven ones first; among ever longer ones some are in no given text."""
    yield from _STEMS
    for length in itertools.count(2):
        yield from (
            "".join(letters) for letters in itertools.product("KQWXZ" + string.ascii_uppercase, repeat=length)
        )


def _holds(text: str, stem: str) -> bool:
    return re.search(stem, text, re.IGNORECASE) is not None


@lru_cache(maxsize=_COMPILED)
def _code_words(stem: str) -> re.Pattern[str]:
    """Whole code words, and whatever of the stem is left without its number."""
    return re.compile(rf"{stem}(?:\s?[{_DASHES}]?\s?(?P<number>[0-9]+)|[{_DASHES}]*)", re.IGNORECASE)


def _begins_sentence(before: str, protected: Protected) -> bool:
    text = before.rstrip(_OPENING)
    return text[-1] in _SENTENCE_END if text else protected.starts_sentence


def _capitalised(wanted: str) -> str:
    """With a capital, unless its spelling has some of its own ("iPhone")."""
    return wanted[:1].upper() + wanted[1:] if wanted.islower() else wanted
