"""Which hosts hold a key: rendezvous hashing (Thaler, Ravishankar: A Name-Based Mapping Scheme for Rendezvous, 1996).

Every host gets a score per key, the highest is its home. A host that goes moves only its own keys, each to the host
that was its second choice; one that comes takes its share evenly from all. So the second choice is the place to look
while the list of hosts is changing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from livedub.errors import ConfigurationError


class Rendezvous:
    """Ranks a fixed set of hosts per key; their order in the list does not matter, their spelling does."""

    def __init__(self, hosts: Sequence[str]) -> None:
        """Take the hosts.

        Raises:
            ConfigurationError: there is none, or one twice.
        """
        if not hosts or len(set(hosts)) != len(hosts):
            raise ConfigurationError(
                f"the media cache's hosts are {list(hosts)}.", remedy="Name each host once, and at least one."
            )
        self._seeds = tuple((host, hashlib.blake2b(host.encode() + b"\0", digest_size=8)) for host in hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """As given."""
        return tuple(host for host, _ in self._seeds)

    def order(self, key: str) -> tuple[str, ...]:
        """All hosts, the key's home first, then its second choice."""
        if len(self._seeds) == 1:
            return self.hosts
        name = key.encode()
        scored: list[tuple[bytes, str]] = []
        for host, seed in self._seeds:
            score = seed.copy()
            score.update(name)
            scored.append((score.digest(), host))
        scored.sort(reverse=True)
        return tuple(host for _, host in scored)
