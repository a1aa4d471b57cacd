from dataclasses import replace
from typing import Any

import pytest

from livedub.supervision import desire
from livedub.supervision.authorize import AuthorizationError, authorize, credential_hash
from livedub.supervision.contract import MediaAuthorization, MediaPermit
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from tests.unit.supervision.given import NOW_MS, POLICY, TOKEN, claimed, on, policy, running, waiting

KEY = "the publisher's key"


def ask(
    record: StreamRecord | None,
    path: str,
    credential: str = "",
    *,
    action: Any = "publish",
    address: str = "203.0.113.9",
    now_ms: int = NOW_MS,
    rules: SupervisionPolicy = POLICY,
) -> MediaPermit:
    request = MediaAuthorization(
        relay_id="relay-1", action=action, path=path, credential=credential, remote_address=address
    )
    return authorize(record, request, now_ms=now_ms, policy=rules)


def refused(code: str, status: int, *arguments: Any, **rest: Any) -> None:
    with pytest.raises(AuthorizationError) as error:
        ask(*arguments, **rest)
    assert (error.value.code, error.value.status) == (code, status)
    assert KEY not in str(error.value)
    assert TOKEN not in str(error.value)


def test_a_source_shows_its_key():
    record = on(stream_key_hash=credential_hash(KEY))
    assert ask(record, "live/s1/in", KEY) == MediaPermit(stream_id="s1")
    for wrong in ("", KEY + "x", KEY.upper(), "ÿ"):
        refused("WRONG_STREAM_KEY", 403, record, "live/s1/in", wrong)


def test_a_stream_without_a_key_takes_anybody():
    assert ask(on(), "live/s1/in", "whatever").stream_id == "s1"
    assert ask(desire.stop(on(), NOW_MS), "live/s1/in").stream_id == "s1", "publishing is not dubbing"


def test_unknown_streams():
    refused("UNKNOWN_STREAM", 404, None, "live/s1/in")
    refused("UNKNOWN_STREAM", 404, None, "live/s1/out", action="read")
    accept = policy(unknown_streams="accept")
    assert ask(None, "live/s1/in", rules=accept).stream_id == "s1"
    refused("UNKNOWN_STREAM", 404, None, "live/s1/out", TOKEN, rules=accept)


def test_the_holder_publishes_every_output():
    for path in ("live/s1/out", "live/s1/out-de"):
        assert ask(running(), path, TOKEN) == MediaPermit(stream_id="s1", generation=1)


@pytest.mark.parametrize(
    "record",
    [
        on(),
        waiting(),
        claimed(),
        replace(running(), lease=replace(running().lease, publish_token_hash=credential_hash("another"))),
        replace(running(), lease=replace(running().lease, ended_at_ms=NOW_MS)),
        on(stream_key_hash=credential_hash(TOKEN)),
    ],
    ids=["free", "waiting", "claimed", "overtaken", "ended", "stream key"],
)
def test_nobody_else_does(record: StreamRecord):
    refused("NOT_THE_HOLDER", 403, record, "live/s1/out", TOKEN)


def test_an_empty_token_never_fits():
    refused("NOT_THE_HOLDER", 403, on(), "live/s1/out", "")
    refused("NOT_THE_HOLDER", 403, running(), "live/s1/out", "")


def test_a_lease_that_nobody_renews_admits_no_more():
    last_ms = NOW_MS + POLICY.lease_ttl_ms + POLICY.clock_skew_ms
    assert ask(running(), "live/s1/out", TOKEN, now_ms=last_ms).generation == 1
    refused("NOT_THE_HOLDER", 403, running(), "live/s1/out", TOKEN, now_ms=last_ms + 1)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("::1", True),
        ("fd00::7", True),
        ("::ffff:192.168.1.1", True),
        ("203.0.113.9", True),  # documentation range: not global
        ("8.8.8.8", False),
        ("2600::1", False),
        ("::ffff:8.8.8.8", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_readers(address: str, inside: bool):
    rules = policy(read_policy="inside")
    assert ask(on(), "live/s1/out", action="read", address=address).stream_id == "s1"
    if inside:
        assert ask(on(), "live/s1/in", action="read", address=address, rules=rules).generation is None
    else:
        refused("NOT_A_READER", 403, on(), "live/s1/in", action="read", address=address, rules=rules)


@pytest.mark.parametrize("path", ["live/s1", "other/s1/in", "live/s1/in\n", "live/s1/out?token=x"])
def test_bad_paths(path: str):
    refused("BAD_PATH", 400, on(), path, TOKEN)
