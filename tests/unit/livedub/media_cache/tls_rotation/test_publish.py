"""Bundles before a change and after it, and how long consumers have to read them."""

import base64
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import TlsMaterial, TlsMaterialError, fingerprint, self_signed
from livedub.media_cache.tls_rotation.publish import TlsPublication
from livedub.media_cache.tls_rotation.rotation_settings import TlsPublishSettings
from livedub.media_cache.tls_rotation.versions import Versions

NAMES = [f"/livedub/test/{one}/TTS_MEDIA_CACHE_CA_BUNDLE" for one in ("voice", "api")]
FIRST, NEW = PrivateCa.create().issue_leaf(["10.0.1.30"]), self_signed(["10.0.1.30"])
ROOT = fingerprint(FIRST.ca_pem)
SETTINGS = TlsPublishSettings(namespace="livedub/test", consumer_prefix="/livedub/test", settle_s=120)
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def sha(material: TlsMaterial) -> str:
    return fingerprint(material.fullchain_pem)


class World:
    """The chain's store, the bundles, and the time."""

    def __init__(self) -> None:
        self.now = NOON
        self.chain_b64 = b64(NEW.fullchain_pem)
        self.values = dict.fromkeys(NAMES, b64(FIRST.ca_pem))
        self.changed_at: datetime | None = NOON - timedelta(days=1)
        self.publication = TlsPublication(SETTINGS, stores=self, parameters=self, now=lambda: self.now)

    @property
    def versions(self) -> Versions:
        return self.chain()[0]

    def chain(self) -> tuple[Versions, str]:
        return Versions.seen(1, self.chain_b64, "s1"), self.chain_b64

    def bundles(self, prefix: str) -> dict[str, str]:
        assert prefix == "/livedub/test"
        return self.values

    def publish_bundle(self, name: str, value: str) -> None:
        self.values[name], self.changed_at = value, self.now

    def bundles_changed_at(self, prefix: str) -> datetime | None:
        return self.changed_at

    def trusted(self) -> set[str]:
        first, second = (set(parse_ca_bundle(value).fingerprints) for value in self.values.values())
        assert first == second
        return first


@pytest.fixture
def world() -> World:
    return World()


def test_old_and_new_then_time_to_read_then_nothing_more(world: World):
    told = world.publication.announce(world.versions)
    assert told == {"verdict": "wait", "wait_s": 120, "changed": NAMES}
    assert world.trusted() == {ROOT, sha(NEW)}
    world.now += timedelta(seconds=100.5)
    assert world.publication.announce(world.versions) == {"verdict": "wait", "wait_s": 20, "changed": []}
    world.now += timedelta(seconds=20)
    assert world.publication.announce(world.versions) == {"verdict": "announced", "wait_s": 0, "changed": []}


def test_what_somebody_took_out_meanwhile_is_put_in_again_and_takes_its_time(world: World):
    world.publication.announce(world.versions)
    world.now += timedelta(seconds=200)
    world.values[NAMES[1]] = b64(FIRST.ca_pem)
    assert world.publication.announce(world.versions) == {
        "verdict": "wait",
        "wait_s": 120,
        "changed": [NAMES[1]],
    }


def test_a_leaf_of_a_known_authority_needs_no_wait(world: World):
    world.chain_b64 = b64(FIRST.fullchain_pem)
    assert world.publication.announce(world.versions)["verdict"] == "announced"


def test_other_versions_change_nothing(world: World):
    told = world.publication.announce(Versions(2, "other", "s2"))
    assert told == {"verdict": "superseded", "changed": []}
    assert world.trusted() == {ROOT}


def test_a_damaged_chain_changes_nothing(world: World):
    world.chain_b64 = b64(NEW.fullchain_pem[:-60])
    with pytest.raises(TlsMaterialError):
        world.publication.announce(world.versions)
    assert world.trusted() == {ROOT}


def test_what_is_dropped_is_gone_and_the_rest_stays(world: World):
    world.publication.announce(world.versions)
    assert world.publication.drop([ROOT, "f" * 64]) == {"changed": NAMES}
    assert world.trusted() == {sha(NEW)}
    assert world.publication.drop([ROOT]) == {"changed": []}


def test_the_last_certificate_is_never_dropped(world: World):
    """An empty bundle would trust every authority that the machine knows."""
    assert world.publication.drop([ROOT]) == {"changed": []}
    assert world.trusted() == {ROOT}


@given(seconds=st.floats(-10_000, 10_000))
def test_the_wait_is_never_longer_than_it_is_meant_to_be(seconds: float):
    world = World()
    world.publication.announce(world.versions)
    world.now += timedelta(seconds=seconds)
    told = world.publication.announce(world.versions)
    assert 0 <= told["wait_s"] <= SETTINGS.settle_s
    assert (told["verdict"] == "announced") == (seconds >= SETTINGS.settle_s)


def test_parameters_that_nobody_ever_wrote_are_not_waited_for(world: World):
    world.changed_at = None
    world.chain_b64 = b64(FIRST.fullchain_pem)
    assert world.publication.announce(world.versions)["verdict"] == "announced"
