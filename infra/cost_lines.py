"""Prices, and lines of a bill made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livedub.errors import ConfigurationError

PRICES = Path(__file__).with_name("prices.json")
HOURS_PER_MONTH = 730
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs.

    Attributes:
        usd: US dollars.
        per: the unit.
        as_of: YYYY-MM in which it was last seen published.
        source: the page that publishes it.
    """

    usd: float
    per: str
    as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line: so much of something at a price.

    Attributes:
        part: of the system, such as `network`.
        item: what it is, for people.
        quantity: in units of the price.
        price: its name in prices.json.
        usd: quantity times price.
    """

    part: str
    item: str
    quantity: float
    price: str
    usd: float


class Prices:
    """The price list of one region."""

    def __init__(self, region: str, prices: Mapping[str, Price]) -> None:
        self.region = region
        self._prices = prices

    @classmethod
    def read(cls, path: Path = PRICES) -> Prices:
        """Those of `path`.

        Raises:
            ConfigurationError: an entry is incomplete or not positive.
        """
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(found["region"], {name: _price(name, entry) for name, entry in found["prices"].items()})

    def __getitem__(self, name: str) -> Price:
        """The price called `name`.

        Raises:
            ConfigurationError: there is none.
        """
        if name not in self._prices:
            raise ConfigurationError(
                f"price {name} is not known.", remedy=f"Add it to {PRICES.name}, with its source and month."
            )
        return self._prices[name]

    def __contains__(self, name: str) -> bool:
        return name in self._prices

    def items(self) -> Iterable[tuple[str, Price]]:
        """Every price by name."""
        return self._prices.items()

    def line(self, part: str, item: str, quantity: float, price: str) -> Line:
        """A line at the price called `price`. Raises ConfigurationError where it is not known."""
        return Line(part, item, quantity, price, quantity * self[price].usd)


def total(lines: Iterable[Line]) -> float:
    """US dollars, all together."""
    return sum(line.usd for line in lines)


def _price(name: str, entry: Mapping[str, Any]) -> Price:
    try:
        price = Price(**entry)
    except TypeError as error:
        raise ConfigurationError(
            f"price {name} is incomplete: {error}.", remedy="Give usd, per, as_of and source."
        ) from error
    if not price.usd > 0 or not _MONTH.fullmatch(price.as_of):
        raise ConfigurationError(
            f"price {name} is {price.usd} as of {price.as_of!r}.",
            remedy="Give an amount above 0, and the month as YYYY-MM.",
        )
    return price
