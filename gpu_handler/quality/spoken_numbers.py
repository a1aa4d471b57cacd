"""Numbers as the target language writes them, so that its voice says them right.

Translators copy figures. A Spanish voice reads the English "1,500" as "one comma five hundred", and voices of every
language read "$5" as "dollar five" (espeak-ng 1.51).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Style:
    """How a language writes and says numbers.

    `currencies` has singular and plural by symbol; `scales` the words that multiply a number; `link` stands between
    those that are nouns (`counted`) and what they count, and `elides` before a vowel.
    """

    thousands: str
    decimal: str
    currencies: Mapping[str, tuple[str, str]]
    scales: str
    counted: str = "$^"
    link: str = ""
    elides: bool = False


def _currencies(dollar: str, euro: str, pound: str, yen: str) -> dict[str, tuple[str, str]]:
    """From "singular plural" of each."""
    symbols = ("$", "\N{EURO SIGN}", "\N{POUND SIGN}", "\N{YEN SIGN}")
    pairs = (words.split() for words in (dollar, euro, pound, yen))
    return {symbol: (pair[0], pair[-1]) for symbol, pair in zip(symbols, pairs, strict=True)}


_STYLES = {
    "de": _Style(
        ".", ",", _currencies("Dollar", "Euro", "Pfund", "Yen"), r"Tausend|Million(?:en)?|Milliarden?"
    ),
    "en": _Style(
        ",",
        ".",
        _currencies("dollar dollars", "euro euros", "pound pounds", "yen"),
        r"hundred|thousand|(?:m|b|tr)illion",
    ),
    "es": _Style(
        ".",
        ",",
        _currencies("dólar dólares", "euro euros", "libra libras", "yen yenes"),
        r"mil(?: millones)?|[mb]ill(?:ón|ones)",
        r"ill(?:ón|ones)$",
        "de",
    ),
    "fr": _Style(
        " ",  # a no-break space is right in print, but espeak-ng reads two numbers
        ",",
        _currencies("dollar dollars", "euro euros", "livre livres", "yen yens"),
        r"mille|millions?|milliards?",
        r"(?:lions?|ards?)$",
        "de",
        elides=True,
    ),
    "it": _Style(
        ".",
        ",",
        _currencies("dollaro dollari", "euro", "sterlina sterline", "yen"),
        r"mila|milion[ei]|miliard[oi]",
        r"(?:ion[ei]|ard[oi])$",
        "di",
    ),
    "pt": _Style(
        ".",
        ",",
        _currencies("dólar dólares", "euro euros", "libra libras", "iene ienes"),
        r"mil(?: milhões)?|[mb]ilh(?:ão|ões)",
        r"ilh(?:ão|ões)$",
        "de",
    ),
}

_NUMBER = r"\d+(?:[.,\u00a0\u202f]\d+)*"
_ALONE = re.compile(rf"(?<![\w.,]){_NUMBER}(?![.,]?\w)")


def localise(translated: str, source_text: str, source: str, target: str) -> str:
    """Figures copied from the source with the target's separators, and prices with their currency said behind.

    Only what stands in both texts alike is taken for copied. Texts of languages that are not known stay as they are.
    """
    written, spoken = _STYLES.get(source), _STYLES.get(target)
    if spoken is None:
        return translated
    if written is not None and (written.thousands, written.decimal) != (spoken.thousands, spoken.decimal):
        copied = {number for number in _ALONE.findall(source_text) if _follows(number, written)}
        translated = _ALONE.sub(
            lambda match: (
                _rewritten(match.group(), written, spoken) if match.group() in copied else match.group()
            ),
            translated,
        )
    return _price(spoken).sub(lambda match: _said(match, spoken), translated)


def _follows(number: str, style: _Style) -> bool:
    """Whether a number is written as the style has it, with a separator at all."""
    thousands, decimal = re.escape(style.thousands), re.escape(style.decimal)
    grouped = rf"\d{{1,3}}(?:{thousands}\d{{3}})+(?:{decimal}\d+)?"
    return re.fullmatch(rf"{grouped}|\d+{decimal}\d+", number) is not None


def _rewritten(number: str, written: _Style, spoken: _Style) -> str:
    marks = {written.thousands: spoken.thousands, written.decimal: spoken.decimal}
    return "".join(marks.get(letter, letter) for letter in number)


def _price(style: _Style) -> re.Pattern[str]:
    symbols = "".join(re.escape(symbol) for symbol in style.currencies)
    return re.compile(
        rf"(?<![\w{symbols}])(?P<symbol>[{symbols}])\s?(?P<amount>{_NUMBER})(?:\s(?P<scale>{style.scales})\b)?(?!\w)",
        re.IGNORECASE,
    )


def _said(match: re.Match[str], style: _Style) -> str:
    amount, scale = match["amount"], match["scale"]
    singular, plural = style.currencies[match["symbol"]]
    if scale is None:
        return f"{amount} {singular if amount == '1' else plural}"
    if not re.search(style.counted, scale, re.IGNORECASE):
        return f"{amount} {scale} {plural}"
    if style.elides and plural[0] in "aeiou":
        return f"{amount} {scale} {style.link[:-1]}'{plural}"
    return f"{amount} {scale} {style.link} {plural}"
