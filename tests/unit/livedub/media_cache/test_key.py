import hashlib
import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from livedub.media_cache.key import Variant, cache_key, is_cache_key, object_path, parse_object_path

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
SPEEDS = st.integers(25, 400)
KEY = "ab" + "0" * 62


def test_the_key_is_the_sha256_of_canonical_json():
    canonical = '{"model":"kokoro:82m","sentence":"¿Qué tal?","speed":100,"voice":"es/ef_dora"}'
    assert (
        cache_key("¿Qué tal?", "es/ef_dora", "kokoro:82m", 100)
        == hashlib.sha256(canonical.encode()).hexdigest()
        == "cdee1a9aa3efacb9780e579479d53205a228e7c79bd7935fb6a9a93794daa04f"
    )


@given(TEXTS, TEXTS, TEXTS, SPEEDS)
@example('"\\\b\f\n\r\t\x00\x1f\x7f/\u2028\u2029', "\ue000", "\U0010ffff", 25)
def test_any_texts_are_keyed_by_what_json_makes_of_them(sentence: str, voice: str, model: str, speed: int):
    said = unicodedata.normalize("NFC", sentence)
    identity = {"sentence": said, "voice": voice, "model": model, "speed": speed}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert cache_key(sentence, voice, model, speed) == hashlib.sha256(canonical.encode()).hexdigest()


@given(TEXTS, TEXTS, TEXTS, SPEEDS)
def test_composed_and_decomposed_letters_make_one_key(sentence: str, voice: str, model: str, speed: int):
    composed = cache_key(unicodedata.normalize("NFC", sentence), voice, model, speed)
    assert cache_key(unicodedata.normalize("NFD", sentence), voice, model, speed) == composed


@given(st.tuples(TEXTS, TEXTS, TEXTS, SPEEDS), st.tuples(TEXTS, TEXTS, TEXTS, SPEEDS))
def test_what_differs_has_another_key(one: tuple[str, str, str, int], other: tuple[str, str, str, int]):
    same = one[1:] == other[1:] and unicodedata.normalize("NFC", one[0]) == unicodedata.normalize(
        "NFC", other[0]
    )
    assert (cache_key(*one) == cache_key(*other)) == same


def test_moving_text_between_fields_makes_another_key():
    assert cache_key("a", "bc", "d") != cache_key("a", "b", "cd")
    assert cache_key('a","speed":1', "b", "c") != cache_key("a", "b", "c")


@pytest.mark.parametrize("speed_percent", [24, 401, 0, -100])
def test_an_impossible_speed_is_refused(speed_percent: int):
    with pytest.raises(InvalidInputError, match="speed_percent"):
        cache_key("a", "b", "c", speed_percent)


def test_half_a_character_is_refused():
    with pytest.raises(InvalidInputError, match="surrogate"):
        cache_key("\ud83d", "b", "c")


@given(KEYS, st.sampled_from(Variant))
def test_a_path_is_read_as_it_was_written(key: str, variant: Variant):
    path = object_path(key, variant)
    parsed = parse_object_path(path)
    assert parsed is not None
    assert (parsed.shard, parsed.hash, parsed.variant, parsed.path) == (key[:2], key, variant, path)


@given(st.text() | st.from_regex(r"/media/[0-9a-f]{2}/[0-9a-f]{64}\.(alaw|pcm)"))
def test_only_what_object_path_writes_is_a_path(text: str):
    parsed = parse_object_path(text)
    assert parsed is None or object_path(parsed.hash, parsed.variant) == text


@pytest.mark.parametrize(
    "path",
    [
        f"/media/ab/{KEY}.wav",
        f"/media/ab/{KEY}",
        f"/media/ac/{KEY}.pcm",
        f"/media/AB/{KEY.upper()}.pcm",
        f"/media/ab/{KEY}.pcm/",
        f"/media/ab/{KEY}.pcm\n",
        f"/media//ab/{KEY}.pcm",
        f"/media/ab/../ab/{KEY}.pcm",
        f"/media/%61b/{KEY}.pcm",
        f"/media/ab/{KEY}.pcm?x=1",
        f"media/ab/{KEY}.pcm",
        f"/media/ab/{KEY[:-1]}٣.pcm",
    ],
)
def test_near_misses_are_no_paths(path: str):
    assert parse_object_path(path) is None


@pytest.mark.parametrize("key", ["", "ab", KEY.upper(), KEY + "0", "../" + KEY, KEY + "\n"])
def test_what_is_no_key_gets_no_path(key: str):
    assert not is_cache_key(key)
    with pytest.raises(InvalidInputError, match="no cache key"):
        object_path(key, Variant.PCM)
