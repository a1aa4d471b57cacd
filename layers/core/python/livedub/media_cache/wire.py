"""What travels with an object of the media cache: media types, and the metadata header of an upload.

A GET answers headerless audio, so rate and channels are fixed per variant; what an upload's metadata says about them
must agree.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from livedub.errors import InvalidInputError
from livedub.media_cache.key import (
    MAX_SPEED_PERCENT,
    MIN_SPEED_PERCENT,
    NATURAL_SPEED_PERCENT,
    ObjectPath,
    Variant,
    cache_key,
)
from livedub.sts.contract import Wire

METADATA_HEADER = "X-Livedub-Metadata"
CONTENT_DIGEST_HEADER = "Content-Digest"

MEDIA_TYPES = {Variant.ALAW: "audio/x-alaw-basic", Variant.PCM: "audio/pcm"}
"""`audio/basic` is mu-law (RFC 2046, 4.3), `audio/PCMA` is for RTP alone (RFC 4856) and `audio/L16` is big-endian
(RFC 2586): headerless A-law and little-endian samples have no registered type, so these are the customary ones."""

SAMPLE_RATES_HZ = {Variant.ALAW: 8_000, Variant.PCM: 24_000}
BYTES_PER_SAMPLE = {Variant.ALAW: 1, Variant.PCM: 2}

MAX_OBJECT_BYTES = 4 * 1024 * 1024
MAX_METADATA_CHARACTERS = 6_000
"""Of the header's value: the server takes 8 KB of headers in all."""
MAX_TTL_S = 10 * 366 * 24 * 3_600

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


def _no_control_characters(value: str) -> str:
    if _CONTROL_CHARACTER.search(value):
        raise ValueError("holds a control character")
    return value


def _no_null(value: str) -> str:
    if "\x00" in value:
        raise ValueError("holds a null character, which a catalogue cannot keep")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_control_characters)]
Sentence = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_no_null)]


def _duration_ms(encoding: Variant, byte_count: int) -> int:
    return round(byte_count * 1_000 / (SAMPLE_RATES_HZ[encoding] * BYTES_PER_SAMPLE[encoding]))


class AudioVariant(Wire):
    """The encoding of one stored object."""

    encoding: Variant
    sample_rate_hz: int
    channels: int = 1
    duration_ms: int = Field(ge=0, le=600_000)

    @model_validator(mode="after")
    def _as_the_variant_says(self) -> AudioVariant:
        rate_hz = SAMPLE_RATES_HZ[self.encoding]
        if self.sample_rate_hz != rate_hz or self.channels != 1:
            raise ValueError(
                f"{self.encoding.value} is {rate_hz} Hz with 1 channel, "
                f"not {self.sample_rate_hz} Hz with {self.channels}"
            )
        return self

    @classmethod
    def of(cls, encoding: Variant, byte_count: int) -> AudioVariant:
        """The description of `byte_count` bytes of a variant."""
        return cls(
            encoding=encoding,
            sample_rate_hz=SAMPLE_RATES_HZ[encoding],
            duration_ms=_duration_ms(encoding, byte_count),
        )

    def describes(self, byte_count: int) -> bool:
        """Whether a body of so many bytes lasts `duration_ms`, give or take a millisecond of rounding."""
        return abs(_duration_ms(self.encoding, byte_count) - self.duration_ms) <= 1


class CacheMetadata(Wire):
    """What an upload says about its object; `speed` is in percent, `ttl_s` how long it is worth keeping."""

    sentence: Sentence
    voice: Name
    model: Name
    speed: int = Field(default=NATURAL_SPEED_PERCENT, ge=MIN_SPEED_PERCENT, le=MAX_SPEED_PERCENT)
    variant: AudioVariant
    ttl_s: int | None = Field(default=None, ge=1, le=MAX_TTL_S)

    @property
    def key(self) -> str:
        """The key that these fields make."""
        return cache_key(self.sentence, self.voice, self.model, self.speed)

    def check_against(self, path: ObjectPath) -> None:
        """See that this metadata belongs to `path`.

        Raises:
            InvalidInputError: the fields make another key, or the suffix names another encoding.
        """
        if self.variant.encoding is not path.variant:
            raise InvalidInputError(
                f"{METADATA_HEADER} says {self.variant.encoding.value}, the path {path.variant.value}.",
                remedy="Upload a variant to its own path.",
            )
        if self.key != path.hash:
            raise InvalidInputError(
                f"the fields of {METADATA_HEADER} make the key {self.key}, not the path's.",
                remedy="Compute the path from the same sentence, voice, model and speed.",
            )


def encode_metadata(metadata: CacheMetadata) -> str:
    """The header's value: base64url without padding (RFC 4648, section 5) of JSON.

    Raises:
        InvalidInputError: it is longer than the server takes.
    """
    text = metadata.model_dump_json(exclude_none=True)
    value = base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")
    if len(value) > MAX_METADATA_CHARACTERS:
        raise InvalidInputError(
            f"{METADATA_HEADER} has {len(value)} characters.",
            remedy=f"At most {MAX_METADATA_CHARACTERS} are taken: cache shorter sentences.",
        )
    return value


def decode_metadata(value: str) -> CacheMetadata:
    """Read the header; padding is allowed.

    Raises:
        InvalidInputError: it is too long, no base64url, no JSON, or its fields are wrong.
    """
    remedy = "Send base64url of a JSON object with sentence, voice, model, speed and variant."
    body = value.rstrip("=")
    if len(value) > MAX_METADATA_CHARACTERS:
        raise InvalidInputError(f"{METADATA_HEADER} has {len(value)} characters.", remedy=remedy)
    if not _BASE64URL.fullmatch(body):
        raise InvalidInputError(f"{METADATA_HEADER} is not base64url.", remedy=remedy)
    try:
        text = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        return CacheMetadata.model_validate_json(text)
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{METADATA_HEADER} is not base64url.", remedy=remedy) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the object"
        raise InvalidInputError(f"{METADATA_HEADER}: {where}: {first['msg']}.", remedy=remedy) from error
