"""What a media-cache host installs; infra/user_data/media_cache_install.sh does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.constructs.host_release import Archive


@dataclass(frozen=True, slots=True)
class HostSources:
    """Where it lies.

    Attributes:
        packages: third-party packages, with Caddy in `bin`; setup/build_host_packages.sh.
        shared: the folder that holds `python/livedub`.
        cache: the package media_edge.cache, its units and its Caddyfile.
        install: the parts of the script that installs the three.
    """

    packages: Path
    shared: Path
    cache: Path
    install: Sequence[Path]

    def archives(self) -> dict[str, Archive]:
        """By the names that the script knows them by."""
        return {
            "PACKAGES": Archive(
                self.packages,
                needs="bin/caddy",
                remedy="Run make build.",
            ),
            "SHARED": Archive.of_sources(self.shared),
            "CACHE": Archive.of_sources(self.cache),
        }
