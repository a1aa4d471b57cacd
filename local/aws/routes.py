"""Which route of an HTTP API takes a request: `METHOD /path/{parameter}/{rest+}`, `ANY ...` or `$default`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

DEFAULT_ROUTE = "$default"


def match_route(route_keys: Iterable[str], method: str, path: str) -> tuple[str, Mapping[str, str]] | None:
    """The route key and its path parameters; None when none matches.

    The most specific one wins: literal segments before parameters before a greedy one, then a method before ANY,
    and `$default` after all.
    """
    best: tuple[tuple[int, ...], str, Mapping[str, str]] | None = None
    for key in route_keys:
        found = _match(key, method, path)
        if found is not None and (best is None or found[0] < best[0]):
            best = (found[0], key, found[1])
    return None if best is None else (best[1], best[2])


def _match(key: str, method: str, path: str) -> tuple[tuple[int, ...], Mapping[str, str]] | None:
    if key == DEFAULT_ROUTE:
        return (3,), {}
    route_method, _, template = key.partition(" ")
    if route_method not in (method, "ANY"):
        return None
    pattern, rank = _compiled(template)
    found = pattern.fullmatch(path)
    if found is None:
        return None
    parameters = {name: value for (name, value) in zip(_names(template), found.groups(), strict=True) if name}
    return (*rank, 3 if route_method == "ANY" else 2), parameters


def _names(template: str) -> list[str]:
    return [name.rstrip("+") for name in re.findall(r"\{([^}]+)\}", template)]


@functools.lru_cache(maxsize=256)
def _compiled(template: str) -> tuple[re.Pattern[str], tuple[int, ...]]:
    parts: list[str] = []
    rank: list[int] = []
    for segment in template.strip("/").split("/"):
        if segment.startswith("{") and segment.endswith("+}"):
            parts.append("(.+)")
            rank.append(2)
        elif segment.startswith("{") and segment.endswith("}"):
            parts.append("([^/]+)")
            rank.append(1)
        else:
            parts.append(re.escape(segment))
            rank.append(0)
    return re.compile("/" + "/".join(parts) + "/?"), tuple(rank)
