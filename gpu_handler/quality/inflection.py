"""Plurals of glossary terms: regular ones only, for terms are mostly nouns and loanwords.

English follows Quirk et al., A Comprehensive Grammar of the English Language, 5.79 to 5.83; Spanish the RAE's Nueva
gramática, 3.2. What a language's rules here cannot form is the empty string: then a term is matched as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_SHORTEST = 3
"""Letters a term needs: with fewer, its plural is likelier another word ("U", "us")."""

_LINKS = frozenset(
    {
        *("of", "in", "for", "to"),
        *("a", "al", "con", "de", "del", "en", "la", "las", "para", "por", "sin"),
        *("da", "das", "do", "dos", "em"),
        *("au", "aux", "des", "du", "le", "les", "pour", "sur"),
        *("dal", "della", "delle", "di"),
    }
)
"""Words that end the head of a term: "tiro | de esquina", "player | of the match"."""

_ELIDED = re.compile(r"(d|l|all|dell|nell|qu)['\N{RIGHT SINGLE QUOTATION MARK}]", re.IGNORECASE)
_UNACCENTED = str.maketrans("áéíóú", "aeiou")


def plural(term: str, language: str) -> str:
    """`term` in the plural, or an empty string where `language` or the term has none that is regular."""
    rule = _RULES.get(language)
    words = term.split()
    if rule is None or len(term) < _SHORTEST or not words or not words[-1][-1].isalpha():
        return ""
    head = next((index for index, word in enumerate(words) if index and _is_link(word)), len(words))
    inflected = range(head - 1, head) if language == "en" else range(head)
    for index in inflected:
        words[index] = rule(words[index])
    changed = " ".join(words)
    return "" if changed == " ".join(term.split()) else changed


def _is_link(word: str) -> bool:
    return word in _LINKS or _ELIDED.match(word) is not None


def _english(word: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", word, re.IGNORECASE):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word) and word.islower():
        return f"{word[:-1]}ies"
    return f"{word}s"


def _spanish(word: str) -> str:
    if not word.islower():
        return word  # names and foreign titles stay as they are: "los Grand Slam"
    if word[-1] in "sx":
        stressed = re.search(r"[áéíóú]s$", word) or len(re.findall(r"[aeiou]+", word)) == 1
        return f"{_shifted(word)}es" if stressed else word
    for ending, changed in (
        ("z", "ces"),
        ("[aeiouáéóú]", r"\gs"),
        ("í", r"\ges"),
        (r"(?<=[^aeiou])y", "is"),
    ):
        if re.search(f"{ending}$", word):
            return re.sub(f"(?P<g>{ending})$", changed.replace(r"\g", r"\g<g>"), word)
    return f"{_shifted(word)}es"


def _shifted(word: str) -> str:
    """Without the accent that a further syllable makes needless ("balón"), but with that of a hiatus ("país")."""
    if re.search(r"[aeo][íú].$", word):
        return word
    return word[:-2] + word[-2:].translate(_UNACCENTED)


def _portuguese(word: str) -> str:
    if not word.islower():
        return word
    if word == "gol":
        return "gols"
    for ending, changed in (
        ("ão", "ões"),
        ("m", "ns"),
        ("al", "ais"),
        ("el", "éis"),
        ("ol", "óis"),
        ("ul", "uis"),
    ):
        if word.endswith(ending):
            return word.removesuffix(ending) + changed
    if word[-1] in "rz":
        return f"{word}es"
    return word if word[-1] in "sx" else f"{word}s"


def _french(word: str) -> str:
    if not word.islower() or word[-1] in "sxz":
        return word
    if word.endswith(("eau", "eu")):
        return f"{word}x"
    return f"{word[:-2]}aux" if word.endswith("al") else f"{word}s"


def _italian(word: str) -> str:
    if not word.islower():
        return word
    for ending, changed in (("ca", "che"), ("ga", "ghe"), ("co", "chi"), ("go", "ghi"), ("io", "i")):
        if word.endswith(ending):
            return word.removesuffix(ending) + changed
    return word[:-1] + {"o": "i", "a": "e", "e": "i"}.get(word[-1], word[-1])


_RULES: dict[str, Callable[[str], str]] = {
    "en": _english,
    "es": _spanish,
    "fr": _french,
    "it": _italian,
    "pt": _portuguese,
}
