"""The Content-Digest header (RFC 9530, section 2): what the sender says its body hashes to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

from livedub.errors import InvalidInputError

MAX_HEADER_CHARACTERS = 1_024
_SUPPORTED = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
WANTED = "sha-256=1, sha-512=1"
"""For Want-Content-Digest (RFC 9530, section 4), in the answer to a header that is no use."""

# A dictionary of byte sequences (RFC 8941, sections 3.2 and 3.3.5); parameters are allowed and mean nothing here.
_KEY = r"[a-z*][a-z0-9_.*-]*"
_PARAMETERS = rf"(?:; *{_KEY}(?:=[A-Za-z0-9!#$%&'*+.^_`|~:/?-]+)?)*"
_MEMBER = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):{_PARAMETERS}")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")


class BodyDigests:
    """Takes a body piece by piece and says at its end whether every digest given fits."""

    def __init__(self, expected: Mapping[str, bytes]) -> None:
        self._expected = dict(expected)
        self._hashes = {name: _SUPPORTED[name]() for name in expected}

    def update(self, piece: bytes) -> None:
        """Take the next piece."""
        for state in self._hashes.values():
            state.update(piece)

    def mismatch(self) -> str | None:
        """The name of a digest that does not fit, None when all do."""
        for name, state in self._hashes.items():
            if not hmac.compare_digest(state.digest(), self._expected[name]):
                return name
        return None


def parse_content_digest(value: str) -> dict[str, bytes]:
    """The digests of a header that this service can check, by algorithm.

    Algorithms it does not know are passed over as long as one is left to check; a repeated one replaces the
    earlier, as in every dictionary of RFC 8941.

    Raises:
        InvalidInputError: the header is malformed, a digest has the wrong length, or none can be checked.
    """
    remedy = "Send Content-Digest: sha-256=:<base64>: or sha-512=:<base64>:."
    if len(value) > MAX_HEADER_CHARACTERS:
        raise InvalidInputError(f"Content-Digest has {len(value)} characters.", remedy=remedy)
    digests: dict[str, bytes] = {}
    for member in _SEPARATOR.split(value.strip(" ")):
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise InvalidInputError("Content-Digest is malformed.", remedy=remedy)
        digests[match[1]] = _decode(match[2], remedy)
    known = {name: digest for name, digest in digests.items() if name in _SUPPORTED}
    if not known:
        raise InvalidInputError("Content-Digest names no algorithm that is checked here.", remedy=remedy)
    for name, digest in known.items():
        if len(digest) != _SUPPORTED[name]().digest_size:
            raise InvalidInputError(f"Content-Digest: {name} has {len(digest)} bytes.", remedy=remedy)
    return known


def _decode(text: str, remedy: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidInputError("Content-Digest holds no base64.", remedy=remedy) from None
