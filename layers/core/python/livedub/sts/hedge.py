"""When a second service is asked for the same fragment because the first is late. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from livedub.errors import ConfigurationError
from livedub.sts.breaker import percentile_95

_SHORTEST_WAIT_MS = 50
_BURST = 3.0


@dataclass(frozen=True, slots=True)
class HedgeConfig:
    """When to hedge, and how often at most.

    `after_ms` of 0 waits as long as 95 % of the last `window` answers took, once there are `min_latencies` of them.
    `max_share` bounds the hedged requests: of any number of them at most that share, and three, goes out twice.
    """

    after_ms: int = 0
    max_share: float = 0.1
    window: int = 50
    min_latencies: int = 10

    def __post_init__(self) -> None:
        if self.after_ms < 0:
            raise ConfigurationError(
                f"hedge after_ms is {self.after_ms}.",
                remedy="Give 0 (from the latencies) or more milliseconds.",
            )
        if not 0 < self.max_share <= 1:
            raise ConfigurationError(
                f"hedge max_share is {self.max_share}.", remedy="Give a share over 0 and at most 1."
            )


class HedgePolicy:
    """Decides when a request is late and whether it may be asked twice. Belongs to one event loop."""

    def __init__(self, config: HedgeConfig | None = None) -> None:
        self._config = config or HedgeConfig()
        self._latencies_ms: deque[int] = deque(maxlen=self._config.window)
        self._credit = 1.0

    def admit(self) -> None:
        """Count a request: it earns its share of a hedge."""
        self._credit = min(_BURST, self._credit + self._config.max_share)

    def after_ms(self) -> int | None:
        """After how long the second service may be asked; None while too little is known of the first."""
        if self._config.after_ms:
            return self._config.after_ms
        if len(self._latencies_ms) < self._config.min_latencies:
            return None
        return max(_SHORTEST_WAIT_MS, percentile_95(self._latencies_ms))

    def spend(self) -> bool:
        """Whether a late request may be asked twice now; counts it if so."""
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def observe(self, latency_ms: int) -> None:
        """Learn how long the first service took, or had taken when the second overtook it."""
        self._latencies_ms.append(latency_ms)
