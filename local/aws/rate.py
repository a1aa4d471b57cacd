"""Schedule expressions: `rate(5 minutes)`."""

from __future__ import annotations

import re

_RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
_SECONDS = {"minute": 60.0, "hour": 3_600.0, "day": 86_400.0}


def rate_s(expression: str) -> float | None:
    """The period of a rate expression; None for any other one (cron is not supported)."""
    found = _RATE.fullmatch(expression.strip())
    if found is None or int(found[1]) < 1:
        return None
    return int(found[1]) * _SECONDS[found[2].removesuffix("s")]
