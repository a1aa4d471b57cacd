import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from livedub.errors import InvalidInputError
from livedub.media_cache.key import Variant, object_path, parse_object_path
from livedub.media_cache.wire import (
    MAX_METADATA_CHARACTERS,
    AudioVariant,
    CacheMetadata,
    decode_metadata,
    encode_metadata,
)

WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@st.composite
def metadata(draw: st.DrawFn) -> CacheMetadata:
    return CacheMetadata(
        sentence=draw(WORDS),
        voice=draw(WORDS),
        model=draw(WORDS),
        speed=draw(st.integers(25, 400)),
        variant=AudioVariant.of(draw(st.sampled_from(Variant)), draw(st.integers(0, 1_000_000))),
        ttl_s=draw(st.none() | st.integers(1, 10**6)),
    )


def fields(**changes: Any) -> dict[str, Any]:
    variant = {"encoding": "pcm", "sample_rate_hz": 24_000, "channels": 1, "duration_ms": 1_000}
    return {"sentence": "Hola", "voice": "es/a", "model": "m", "speed": 100, "variant": variant} | changes


def header(**changes: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields(**changes)).encode()).decode()


@given(metadata())
def test_metadata_survives_the_header(given_metadata: CacheMetadata):
    value = encode_metadata(given_metadata)
    assert value.isascii()
    assert decode_metadata(value) == given_metadata


@given(metadata())
def test_metadata_belongs_to_the_path_of_its_own_key_alone(given_metadata: CacheMetadata):
    path = parse_object_path(object_path(given_metadata.key, given_metadata.variant.encoding))
    assert path is not None
    given_metadata.check_against(path)
    other = given_metadata.model_copy(update={"sentence": given_metadata.sentence + "."})
    with pytest.raises(InvalidInputError, match="make the key"):
        other.check_against(path)


def test_metadata_of_another_variant_is_refused():
    given_metadata = CacheMetadata.model_validate(fields())
    path = parse_object_path(object_path(given_metadata.key, Variant.ALAW))
    assert path is not None
    with pytest.raises(InvalidInputError, match="says pcm, the path alaw"):
        given_metadata.check_against(path)


@given(
    st.text(max_size=300) | st.binary(max_size=300).map(lambda data: base64.urlsafe_b64encode(data).decode())
)
def test_any_header_is_read_or_refused(value: str):
    with suppress(InvalidInputError):
        assert decode_metadata(value).sentence


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"speed": 24}, "speed"),
        ({"sentence": ""}, "sentence"),
        ({"sentence": "a\x00b"}, "null character"),
        ({"voice": "a\nb"}, "control character"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"extra": 1}, "extra"),
        (
            {"variant": {"encoding": "pcm", "sample_rate_hz": 22_050, "channels": 1, "duration_ms": 1}},
            "24000 Hz",
        ),
        (
            {"variant": {"encoding": "alaw", "sample_rate_hz": 8_000, "channels": 2, "duration_ms": 1}},
            "1 channel",
        ),
    ],
)
def test_wrong_fields_are_named(changes: dict[str, Any], problem: str):
    with pytest.raises(InvalidInputError, match=problem):
        decode_metadata(header(**changes))


def test_padding_is_allowed_and_the_other_alphabet_is_not():
    assert decode_metadata(header()) == decode_metadata(header().rstrip("="))
    with pytest.raises(InvalidInputError, match="not base64url"):
        decode_metadata("ab+/")


def test_a_header_that_no_server_takes_is_refused_on_both_sides():
    long = CacheMetadata.model_validate(fields(sentence="ñ" * 3_000))
    with pytest.raises(InvalidInputError, match="cache shorter sentences"):
        encode_metadata(long)
    with pytest.raises(InvalidInputError, match="characters"):
        decode_metadata("a" * (MAX_METADATA_CHARACTERS + 1))


@given(st.sampled_from(Variant), st.integers(0, 4_000_000))
def test_a_duration_describes_the_bytes_it_was_made_from(variant: Variant, byte_count: int):
    described = AudioVariant.of(variant, byte_count)
    assert described.describes(byte_count)
    assert not described.describes(byte_count + 200)


def test_metadata_is_frozen():
    with pytest.raises(ValidationError):
        CacheMetadata.model_validate(fields()).__setattr__("sentence", "other")
