"""The tokens of a media cache's secrets, and their change."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from livedub.media_cache.writer_tokens import (
    accepted_tokens,
    with_next,
    with_other_used,
    without_other,
)

OLD, NEW = "o" * 32, "n" * 32
HOST = {"MEDIA_TLS_PRIVKEY_B64": "", "MEDIA_UPLOAD_TOKEN": "h" * 32}
VOICE = {"TTS_MEDIA_CACHE_UPLOAD_TOKEN": OLD}


def used(held: dict[str, str]) -> str:
    return held["TTS_MEDIA_CACHE_UPLOAD_TOKEN"]


def test_a_host_accepts_what_both_secrets_hold_by_the_names_of_their_writers():
    assert accepted_tokens([HOST, VOICE]) == {"default": "h" * 32, "voice": OLD}
    assert accepted_tokens([HOST, {}]) == {"default": "h" * 32}
    changing = [with_next(HOST, "i" * 32), with_next(VOICE, NEW)]
    assert accepted_tokens(changing) == {
        "default": "h" * 32,
        "default-other": "i" * 32,
        "voice": OLD,
        "voice-other": NEW,
    }


def test_a_token_that_two_have_is_accepted_once():
    same = {**VOICE, "MEDIA_UPLOAD_TOKEN_OTHER": OLD}
    assert accepted_tokens([{"MEDIA_UPLOAD_TOKEN": OLD}, same]) == {"default": OLD}


def test_what_is_used_at_any_time_was_accepted_a_step_before_and_is_a_step_later():
    steps = [VOICE, with_next(VOICE, NEW)]
    steps.append(with_other_used(steps[-1]))
    steps.append(without_other(steps[-1]))
    assert [used(held) for held in steps] == [OLD, OLD, NEW, NEW]
    for held, after in pairwise(steps):
        # Host and consumers read at different times: either may be a step behind the other.
        assert used(after) in accepted_tokens([held]).values()
        assert used(held) in accepted_tokens([after]).values()
    assert accepted_tokens([steps[-1]]) == {"voice": NEW}


def test_going_back_is_the_same_step_again():
    changing = with_next(HOST, NEW)
    assert with_other_used(with_other_used(changing)) == changing
    assert without_other(changing) == HOST


@pytest.mark.parametrize(
    ("held", "step", "words"),
    [
        ({**VOICE, "MEDIA_UPLOAD_TOKEN_OTHER": NEW}, "next", "another token already"),
        (VOICE, "use", "no other token"),
        ({"STS_API_KEY": "k"}, "next", "neither MEDIA_UPLOAD_TOKEN nor TTS_MEDIA_CACHE_UPLOAD_TOKEN"),
        ({"STS_API_KEY": "k"}, "drop", "neither"),
    ],
)
def test_a_step_out_of_order_is_refused(held: dict[str, str], step: str, words: str):
    steps = {
        "next": lambda: with_next(held, "x" * 32),
        "use": lambda: with_other_used(held),
        "drop": lambda: without_other(held),
    }
    with pytest.raises(ConfigurationError, match=words):
        steps[step]()


@pytest.mark.parametrize("member", ["TTS_MEDIA_CACHE_UPLOAD_TOKEN", "MEDIA_UPLOAD_TOKEN_OTHER"])
def test_an_unusable_token_is_named_and_not_quoted(member: str):
    with pytest.raises(ConfigurationError, match=f"{member} is no usable token") as refused:
        accepted_tokens([{**VOICE, member: "with a space in it"}])
    assert "with a space" not in str(refused.value)


@given(st.lists(st.sampled_from(["next", "use", "drop"]), max_size=8))
def test_no_order_of_steps_loses_the_token_in_use(steps: list[str]):
    held, fresh = dict(VOICE), iter(f"{number:032d}" for number in range(9))
    for step in steps:
        before = held
        try:
            held = {
                "next": lambda held=held: with_next(held, next(fresh)),
                "use": lambda held=held: with_other_used(held),
                "drop": lambda held=held: without_other(held),
            }[step]()
        except ConfigurationError:
            continue
        assert used(held) in accepted_tokens([before]).values()
