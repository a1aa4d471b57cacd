"""Which values of the two stores a rotation is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from livedub.errors import InvalidInputError

_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Versions:
    """What was in Parameter Store and Secrets Manager at one moment.

    Attributes:
        parameter: version of MEDIA_TLS_FULLCHAIN_B64; 0 where there is none.
        chain: the beginning of its value's sha256; empty where there is none. A parameter that was deleted begins anew at
            version 1.
        secret: VersionId of the secret's current version; empty where there is none.
    """

    parameter: int
    chain: str
    secret: str

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Versions:
        """From the state machine's input.

        Raises:
            InvalidInputError: it is not what `fields` gave.
        """
        parameter, chain, secret = (given.get(name) for name in ("parameter", "chain", "secret"))
        if not isinstance(parameter, int) or not isinstance(chain, str) or not isinstance(secret, str):
            raise InvalidInputError(
                f"versions {dict(given)} are none.",
                remedy="Start rotate_tls by the function start_tls_rotation.",
            )
        return cls(parameter, chain, secret)

    @classmethod
    def seen(cls, parameter: int, chain_b64: str, secret: str) -> Versions:
        """Of what was read."""
        digest = hashlib.sha256(chain_b64.encode()).hexdigest()[:_DIGEST_DIGITS] if chain_b64 else ""
        return cls(parameter, digest, secret)

    def fields(self) -> dict[str, Any]:
        """For the state machine's input."""
        return asdict(self)

    @property
    def name(self) -> str:
        """Of the execution that is about them: the same for the same, so that a burst of events starts one."""
        return f"p{self.parameter}-{self.chain or 'none'}-{self.secret or 'none'}"
