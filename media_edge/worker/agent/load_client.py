"""How busy this host is, as CloudWatch metrics that the fleet is scaled by.

Without dimensions: the fleet asks for averages over all hosts, times how many there are. A sum over a minute would count a
host twice that reports twice in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from livedub.supervision.aws_client import aws_errors


@dataclass(frozen=True, slots=True)
class HostLoad:
    """Slots of one host; a draining host has none free, and is not idle."""

    slots: int
    used: int
    draining: bool

    @property
    def free(self) -> int:
        """Streams that it would take now."""
        return 0 if self.draining else max(0, self.slots - self.used)

    @property
    def idle(self) -> bool:
        """Whether it could go without any stream noticing."""
        return self.used == 0 and not self.draining


class LoadMetrics:
    """`SlotsFree`, `SlotsUsed` and `HostIdle` in one namespace."""

    def __init__(self, namespace: str, client: Any) -> None:
        self._namespace = namespace
        self._client = client

    def put(self, load: HostLoad) -> None:
        """Report once.

        Raises:
            StoreUnavailableError: CloudWatch did not answer, or refuses.
        """
        figures = {"SlotsFree": load.free, "SlotsUsed": load.used, "HostIdle": int(load.idle)}
        with aws_errors("Reporting the load"):
            self._client.put_metric_data(
                Namespace=self._namespace,
                MetricData=[
                    {"MetricName": name, "Value": float(value), "Unit": "Count"}
                    for name, value in figures.items()
                ],
            )
