"""What follows from what is stored and what is served."""

import base64
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from livedub.media_cache.bundle_publication import vouching_for
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import TlsMaterial, fingerprint, parse_chain, self_signed
from livedub.media_cache.tls_rotation.check import TlsCheck
from livedub.media_cache.tls_rotation.rotation_settings import TlsCheckSettings
from livedub.media_cache.tls_rotation.rotation_store import StoredPair
from livedub.media_cache.tls_rotation.versions import Versions

IP = "10.0.1.30"
VOICE = "/livedub/test/voice/TTS_MEDIA_CACHE_CA_BUNDLE"
API = "/livedub/test/api/TTS_MEDIA_CACHE_CA_BUNDLE"
FIRST = PrivateCa.create().issue_leaf([IP])
NEW = self_signed([IP])
SETTINGS = TlsCheckSettings(
    namespace="livedub/test", consumer_prefix="/livedub/test", base_url=f"https://{IP}:8443", pair_wait_s=60
)


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def sha(material: TlsMaterial) -> str:
    return fingerprint(material.fullchain_pem)


class Host:
    """Serves a pair; trusts as a consumer would, by who issued what."""

    def __init__(self, now: TlsMaterial | None) -> None:
        self.now = now

    def fingerprint(self) -> str:
        return sha(self.now) if self.now else ""

    def vouching(self, certificates: Sequence[x509.Certificate]) -> list[str]:
        wanted = set(vouching_for(self.now)) if self.now else set[str]()
        return sorted(wanted & {one.fingerprint(SHA256()).hex() for one in certificates})

    def distrust(self, bundle: str) -> str:
        return "" if self.vouching(parse_ca_bundle(bundle).certificates) else "self-signed certificate"


class World:
    """Stores, bundles, host, and time."""

    def __init__(self) -> None:
        self.chain, self.key, self.secret = b"", b"", "s1"
        self.values = {VOICE: b64(FIRST.ca_pem), API: b64(FIRST.ca_pem)}
        self.host = Host(FIRST)
        self.seconds = 0.0
        self.check = TlsCheck(
            SETTINGS,
            stores=self,
            parameters=self,
            served=self.host,
            monotonic=lambda: self.seconds,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def pair(self) -> StoredPair:
        chain = b64(self.chain)
        return StoredPair(Versions.seen(1 if chain else 0, chain, self.secret), chain, b64(self.key))

    def bundles(self, prefix: str) -> dict[str, str]:
        assert prefix == "/livedub/test"
        return self.values

    def publish_bundle(self, name: str, value: str) -> None:
        raise AssertionError(f"{name}: a look writes nothing")

    def give(self, chain: TlsMaterial | None, key: TlsMaterial | None = None) -> Versions:
        self.chain = chain.fullchain_pem if chain else b""
        self.key = key.privkey_pem if key else b""
        return self.pair().versions


@pytest.fixture
def world() -> World:
    return World()


class TestPlan:
    def test_a_pair_of_another_authority(self, world: World):
        plan = world.check.plan(world.give(NEW, NEW), 0)
        assert plan == {
            "verdict": "rotate",
            "old": sha(FIRST),
            "new": sha(NEW),
            "vouching": vouching_for(FIRST),
            "adding": [sha(NEW)],
        }

    def test_a_leaf_of_the_same_authority_adds_nothing(self, world: World):
        authority = PrivateCa.create()
        old, new = authority.issue_leaf([IP]), authority.issue_leaf([IP])
        world.host.now = old
        world.values = dict.fromkeys(world.values, b64(authority.pem))
        plan = world.check.plan(world.give(new, new), 0)
        assert (plan["adding"], plan["vouching"]) == ([], [fingerprint(authority.pem)])

    def test_what_is_served_and_trusted_already(self, world: World):
        assert world.check.plan(world.give(FIRST, FIRST), 0)["verdict"] == "unchanged"

    def test_what_is_served_and_not_trusted_by_every_consumer_is_told(self, world: World):
        world.values[API] = b64(NEW.ca_pem)
        assert world.check.plan(world.give(FIRST, FIRST), 0)["verdict"] == "rotate"

    def test_no_pair(self, world: World):
        assert world.check.plan(world.give(None), 0) == {"verdict": "nothing"}

    def test_other_versions_than_it_was_started_for(self, world: World):
        versions = world.give(NEW, NEW)
        world.secret = "s2"  # noqa: S105 - a version
        assert world.check.plan(versions, 0) == {"verdict": "superseded"}

    @pytest.mark.parametrize(("chain", "key"), [(NEW, FIRST), (NEW, None), (None, NEW)])
    def test_half_a_pair_is_waited_for_and_then_refused(
        self, world: World, chain: TlsMaterial | None, key: TlsMaterial | None
    ):
        versions = world.give(chain, key)
        assert world.check.plan(versions, 0) == {"verdict": "wait", "wait_s": SETTINGS.poll_s}
        assert world.check.plan(versions, 57.5) == {"verdict": "wait", "wait_s": 3}
        refused = world.check.plan(versions, 60)
        assert refused["verdict"] == "refused"
        assert "no matching pair came within 60 s" in refused["reason"]

    def test_a_pair_that_expired_is_refused_at_once(self, world: World):
        old = self_signed([IP], days=0)
        refused = world.check.plan(world.give(old, old), 0)
        assert (refused["verdict"], "expired" in refused["reason"]) == ("refused", True)

    def test_a_certificate_for_another_host_is_refused_before_anybody_meets_it(self, world: World):
        wrong = self_signed(["10.0.1.31"])
        refused = world.check.plan(world.give(wrong, wrong), 0)
        assert refused["verdict"] == "refused"
        assert VOICE in refused["reason"]
        assert IP in refused["reason"]

    def test_a_chain_without_its_root_is_refused_where_consumers_have_a_bundle(self, world: World):
        leaf = PrivateCa.create().issue_leaf([IP])
        alone = parse_chain(leaf.fullchain_pem)[0]
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

        bare = TlsMaterial(alone.public_bytes(Encoding.PEM), leaf.privkey_pem)
        assert world.check.plan(world.give(bare, bare), 0)["verdict"] == "refused"

    def test_no_reason_quotes_the_key(self, world: World):
        world.give(NEW, NEW)
        world.key = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
        refused = world.check.plan(world.pair().versions, 0)
        assert refused["verdict"] == "refused"
        assert "c2VjcmV0" not in str(refused)

    def test_a_host_that_is_down_is_said_to_serve_nothing(self, world: World):
        world.host.now = None
        plan = world.check.plan(world.give(NEW, NEW), 0)
        assert (plan["verdict"], plan["old"], plan["vouching"]) == ("rotate", "", [])


class TestVerify:
    def test_it_is_served_and_every_bundle_trusts_it(self, world: World):
        versions = world.give(FIRST, FIRST)
        assert world.check.verify(versions, sha(FIRST)) == {
            "verdict": "served",
            "drop_after_s": SETTINGS.drop_after_s,
        }

    def test_a_reload_takes_a_moment(self, world: World):
        versions = world.give(NEW, NEW)
        world.values = dict.fromkeys(world.values, b64(NEW.ca_pem))
        sleep = world.sleep

        def switched(seconds: float) -> None:
            sleep(seconds)
            world.host.now = NEW

        world.check = TlsCheck(
            SETTINGS,
            stores=world,
            parameters=world,
            served=world.host,
            monotonic=lambda: world.seconds,
            sleep=switched,
        )
        assert world.check.verify(versions, sha(NEW))["verdict"] == "served"
        assert world.seconds < 1

    def test_another_one_is_served(self, world: World):
        failed = world.check.verify(world.give(NEW, NEW), sha(NEW))
        assert failed["verdict"] == "failed"
        assert f"serves {sha(FIRST)}, not {sha(NEW)}" in failed["reason"]
        assert world.seconds >= 10

    def test_one_consumer_does_not_trust_it(self, world: World):
        versions = world.give(FIRST, FIRST)
        world.values[API] = b64(NEW.ca_pem)
        failed = world.check.verify(versions, sha(FIRST))
        assert (failed["verdict"], API in failed["reason"]) == ("failed", True)

    def test_something_newer_is_served(self, world: World):
        versions = world.give(NEW, NEW)
        world.secret = "s2"  # noqa: S105 - a version
        assert world.check.verify(versions, sha(NEW)) == {"verdict": "superseded"}


class TestAfterwards:
    def test_what_vouches_for_nothing_any_more_goes(self, world: World):
        world.give(NEW, NEW)
        world.host.now = NEW
        world.values = dict.fromkeys(world.values, b64(NEW.ca_pem + FIRST.ca_pem))
        assert world.check.retire(vouching_for(FIRST)) == {"drop": vouching_for(FIRST)}

    def test_what_is_served_again_meanwhile_stays(self, world: World):
        world.give(NEW, NEW)
        assert world.check.retire(vouching_for(FIRST)) == {"drop": []}

    def test_what_is_stored_again_meanwhile_stays(self, world: World):
        world.give(FIRST, FIRST)
        world.host.now = NEW
        world.values = dict.fromkeys(world.values, b64(NEW.ca_pem + FIRST.ca_pem))
        assert world.check.retire(vouching_for(FIRST)) == {"drop": []}

    def test_a_host_that_does_not_answer_proves_nothing(self, world: World):
        world.give(NEW, NEW)
        world.host.now = None
        assert world.check.retire(vouching_for(FIRST)) == {"drop": []}

    def test_back_means_that_the_old_one_is_served_and_trusted(self, world: World):
        world.give(None)
        assert world.check.verify_back(sha(FIRST), [sha(NEW)]) == {"verdict": "back", "drop": [sha(NEW)]}

    @pytest.mark.parametrize("old", [sha(NEW), ""], ids=["the new one", "none"])
    def test_what_the_stores_hold_again_counts_before_what_was_served(self, world: World, old: str):
        """Where this look began while another execution's host still served what was to be taken back."""
        world.give(FIRST, FIRST)
        assert world.check.verify_back(old, [])["verdict"] == "back"
        world.host.now = NEW
        assert world.check.verify_back(old, [])["verdict"] == "failed"

    @pytest.mark.parametrize("old", [sha(NEW), ""], ids=["the new one", "none"])
    def test_anything_else_is_not(self, world: World, old: str):
        world.give(None)
        answer = world.check.verify_back(old, [sha(NEW)])
        assert (answer["verdict"], answer["drop"]) == ("failed", [])


@pytest.mark.parametrize(
    "address", ["http://10.0.1.30:8443", "10.0.1.30", "https://a:1,https://b:1", "https://"]
)
def test_one_https_address_it_must_be(address: str):
    with pytest.raises(ValueError, match="not one address"):
        TlsCheckSettings(namespace="x", consumer_prefix="/x", base_url=address)
