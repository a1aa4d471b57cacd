"""Where that lies which is deployed: this checkout, and what `make build` made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Sources:
    """Code of a checkout and built artefacts.

    Attributes:
        checkout: the repository.
        build: what `make build` filled.
    """

    checkout: Path
    build: Path

    @classmethod
    def of_checkout(cls, build: Path | None = None) -> Sources:
        """Those of the checkout this file is in; `build` other than its own for what was built elsewhere."""
        return cls(CHECKOUT, build or CHECKOUT / "build")

    @property
    def functions(self) -> Path:
        """One folder per Lambda function."""
        return self.checkout / "functions"

    @property
    def shared_layer(self) -> Path:
        """The package livedub, as a layer."""
        return self.checkout / "layers" / "core"

    def layer(self, name: str) -> Path:
        """A layer of third-party packages, built by setup/build_layer.sh."""
        return self.build / "layers" / name

    def user_data(self, name: str) -> Path:
        """A script that a host runs."""
        return self.checkout / "infra" / "user_data" / name
