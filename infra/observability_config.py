"""Who is told of trouble, and from which bounds on it is trouble."""

from __future__ import annotations

import re
from dataclasses import dataclass

from livedub.errors import ConfigurationError

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class ObservabilityConfig:
    """Alarms of one environment; docs/runbook.md says what to do at each.

    Attributes:
        notify: e-mail addresses that alarms go to; each is asked once by AWS whether it wants them. Without any the topic
            is there, for whatever else subscribes to it.
        waiting_s: how long a stream may wait for a host, or for its start.
        disk_percent: how full the volume of the media cache, and any of a host's, may be.
        memory_percent: how full a host's memory may be.
        certificate_days: how long before its end the media cache's certificate is to be renewed.
        database_free_gb: least room in the Postgres.
        database_connections: most connections of the Postgres; a db.t4g.micro takes about 80.
    """

    notify: tuple[str, ...] = ()
    waiting_s: int = 120
    disk_percent: int = 85
    memory_percent: int = 90
    certificate_days: int = 14
    database_free_gb: int = 4
    database_connections: int = 60

    def __post_init__(self) -> None:
        """Refuse what would stay silent, or never be."""
        for address in self.notify:
            if not _ADDRESS.fullmatch(address):
                raise ConfigurationError(
                    f"observability.notify {address!r} is no e-mail address.",
                    remedy="Give one such as ops@example.com.",
                )
        for key, least, most in (
            ("waiting_s", 60, 3_600),
            ("disk_percent", 10, 99),
            ("memory_percent", 10, 99),
            ("certificate_days", 1, 90),
            ("database_free_gb", 1, 1_000),
            ("database_connections", 1, 10_000),
        ):
            value: int = getattr(self, key)
            if not least <= value <= most:
                raise ConfigurationError(
                    f"observability.{key} is {value}.", remedy=f"Take one from {least} to {most}."
                )
