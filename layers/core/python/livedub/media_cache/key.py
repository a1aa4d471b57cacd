"""Where a piece of generated speech lies in the media cache: its key, and the path that the key gives.

Pure. The key is the identity of the speech (what is said, by which voice of which model, how fast), never of its
encoding: one key has an object per variant.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from json.encoder import encode_basestring

from livedub.errors import InvalidInputError

MIN_SPEED_PERCENT = 25
MAX_SPEED_PERCENT = 400
NATURAL_SPEED_PERCENT = 100

_KEY = re.compile(r"[0-9a-f]{64}")
_OBJECT_PATH = re.compile(r"/media/([0-9a-f]{2})/([0-9a-f]{64})\.(alaw|pcm)")


class Variant(str, Enum):
    """How stored speech is encoded; the value is the path's suffix."""

    ALAW = "alaw"
    """ITU-T G.711 A-law, 8 kHz, mono, headerless."""
    PCM = "pcm"
    """Signed 16-bit little-endian samples, 24 kHz, mono, headerless."""


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A path of the cache, taken apart."""

    shard: str
    hash: str
    variant: Variant

    @property
    def path(self) -> str:
        """As in a URL."""
        return f"/media/{self.shard}/{self.hash}.{self.variant.value}"


def cache_key(sentence: str, voice: str, model: str, speed_percent: int = NATURAL_SPEED_PERCENT) -> str:
    """The key of what is said: sha256, as 64 lower-case hexadecimal digits.

    It is taken over the UTF-8 of one canonical JSON object, `{"model":...,"sentence":...,"speed":...,"voice":...}`:
    keys sorted, no white space, nothing escaped that JSON does not ask for. The sentence is normalised to NFC, so
    that one letter and its composed form make one key; nothing else of it is touched.

    Args:
        sentence: what is said.
        voice: who says it; a voice id names its language (`es/ef_dora`).
        model: what synthesised it (`kokoro:kokoro-82m`).
        speed_percent: speaking speed, 100 is the voice's natural one.

    Raises:
        InvalidInputError: the speed lies outside 25 to 400, or a text holds half a character (a lone surrogate).
    """
    if not MIN_SPEED_PERCENT <= speed_percent <= MAX_SPEED_PERCENT:
        raise InvalidInputError(
            f"speed_percent is {speed_percent}.", remedy=f"Give {MIN_SPEED_PERCENT} to {MAX_SPEED_PERCENT}."
        )
    said = encode_basestring(unicodedata.normalize("NFC", sentence))
    # By hand, since building an encoder takes ten times as long as using it, and the object never changes.
    canonical = (
        f'{{"model":{encode_basestring(model)},"sentence":{said},'
        f'"speed":{int(speed_percent)},"voice":{encode_basestring(voice)}}}'
    )
    try:
        return hashlib.sha256(canonical.encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "sentence, voice or model holds a lone surrogate.", remedy="Send whole Unicode characters."
        ) from error


def is_cache_key(text: str) -> bool:
    """Whether `text` looks like a key."""
    return _KEY.fullmatch(text) is not None


def object_path(key: str, variant: Variant) -> str:
    """The path of a key's object, `/media/<shard>/<hash>.<variant>`.

    Raises:
        InvalidInputError: `key` is no key.
    """
    if not is_cache_key(key):
        raise InvalidInputError(
            f"{key[:80]!r} is no cache key.", remedy="Give 64 lower-case hexadecimal digits."
        )
    return ObjectPath(key[:2], key, variant).path


def parse_object_path(path: str) -> ObjectPath | None:
    """Take an undecoded URL path apart; None where it is none of the cache's, to the letter.

    The shard must be the hash's first two digits. Escapes, doubled slashes, other cases and suffixes are no paths.
    """
    match = _OBJECT_PATH.fullmatch(path)
    if match is None or match[1] != match[2][:2]:
        return None
    return ObjectPath(match[1], match[2], Variant(match[3]))
