"""Files of one JSON object a line, as processes leave them that may die while they write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from livedub.errors import InvalidInputError


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line; a last line cut short is left out.

    Raises:
        InvalidInputError: the file cannot be read, or a line before the last is no JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error}.", remedy="Give the file that livedub wrote."
        ) from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            value = _decoded(line)
            if value is not None:
                yield number, value
            elif number < len(lines):
                raise InvalidInputError(
                    f"line {number} of {path} is no JSON object.", remedy="Give the file that livedub wrote."
                )


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        value: object = json.loads(line)
    except json.JSONDecodeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
