import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from livedub.media_cache.bundle_publication import trust
from livedub.media_cache.caddy_admin_client import CaddyError
from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.rotation import Renewal, Rotated, Rotation, RotationError
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import (
    PairMismatchError,
    TlsMaterial,
    TlsMaterialError,
    check_pair,
    fingerprint,
    read_material,
    self_signed,
    write_material,
)
from livedub.media_cache.tls_sources import init_tls

IP = "10.0.1.30"
PREFIX = "/voiceai/test"
VOICE = f"{PREFIX}/voice/TTS_MEDIA_CACHE_CA_BUNDLE"


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def sha(material: TlsMaterial) -> str:
    return fingerprint(material.fullchain_pem)


class Host:
    """Serves what is in its folder since the last reload; keeps what it ever served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = ""
        self.reloads = 0
        self.refuses: Callable[[TlsMaterial], bool] = lambda _: False
        self.stale = False
        self.breaks = 0
        self.read()

    def read(self) -> None:
        found = read_material(self.folder)
        if found is None:
            return
        # What Caddy does too: a key of another certificate is no configuration.
        check_pair(found.fullchain_pem, found.privkey_pem)
        if self.refuses(found):
            raise CaddyError("Caddy answers 400.")
        self.now = sha(found)

    def reload(self) -> None:
        self.reloads += 1
        if not self.stale:
            self.read()

    def served(self) -> str:
        if self.breaks:
            self.breaks -= 1
            raise CaddyError("no TLS: Connection reset by peer.")
        return self.now


class Parameters:
    """Consumers' parameters in memory, and the log of what was written when."""

    def __init__(self, log: list[str]) -> None:
        self.values: dict[str, str] = {}
        self.log = log

    def bundles(self, prefix: str) -> dict[str, str]:
        names = [f"{prefix}/{consumer}/TTS_MEDIA_CACHE_CA_BUNDLE" for consumer in ("voice", "api")]
        return {name: self.values.get(name, "") for name in names}

    def publish_bundle(self, name: str, value: str) -> None:
        self.log.append(f"publish {name}")
        self.values[name] = value

    def trusted(self, name: str = VOICE) -> set[str]:
        return set(parse_ca_bundle(self.values[name]).fingerprints) if self.values.get(name) else set()


class Rig:
    def __init__(self, folder: Path) -> None:
        self.log: list[str] = []
        self.variables = {
            "MEDIA_TLS_CERT_HOST_PATH": str(folder),
            "PRIVATE_IP": IP,
            "MEDIA_CONSUMER_PREFIX": PREFIX,
        }
        self.folder = folder
        self.first = self_signed([IP])
        write_material(folder / "tls", self.first)
        self.host = Host(folder / "tls")
        self.parameters = Parameters(self.log)
        self.seconds = 0.0
        self.while_waiting: list[Callable[[], None]] = []
        self.rotation = Rotation(
            self.load, self.host, lambda: self.parameters, monotonic=lambda: self.seconds, sleep=self.sleep
        )

    def load(self) -> MediaTlsSettings:
        return MediaTlsSettings.load(self.variables)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.while_waiting:
            self.while_waiting.pop(0)()

    def set_chain(self, material: TlsMaterial) -> None:
        self.variables["MEDIA_TLS_FULLCHAIN_B64"] = b64(material.fullchain_pem)

    def set_key(self, material: TlsMaterial) -> None:
        self.variables["MEDIA_TLS_PRIVKEY_B64"] = b64(material.privkey_pem)

    def unset_both(self) -> None:
        del self.variables["MEDIA_TLS_FULLCHAIN_B64"], self.variables["MEDIA_TLS_PRIVKEY_B64"]

    def set_both(self, material: TlsMaterial) -> None:
        self.set_chain(material)
        self.set_key(material)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture(scope="module")
def new() -> TlsMaterial:
    return self_signed([IP])


class TestRotate:
    def test_the_new_pair_is_announced_then_written_then_served(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        reload = rig.host.reload
        rig.host.reload = lambda: (rig.log.append("reload"), reload())[1]
        rotated = rig.rotation.rotate()
        assert (rotated.old, rotated.new) == (sha(rig.first), sha(new))
        assert rig.host.served() == sha(new)
        assert [entry.split()[0] for entry in rig.log] == ["publish", "publish", "reload"]
        for name in rotated.published:
            assert rig.parameters.trusted(name) == {sha(rig.first), sha(new)}
        assert len(rotated.published) == 2

    def test_a_second_time_changes_nothing_and_is_seen_to_be_served(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.rotation.rotate()
        assert rig.rotation.rotate() == Rotated(sha(new), sha(new))
        assert rig.host.reloads == 2

    def test_without_a_prefix_nobody_is_told(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.variables["MEDIA_CONSUMER_PREFIX"] = ""
        assert rig.rotation.rotate().published == ()

    def test_a_pair_that_does_not_match_changes_nothing(self, rig: Rig, new: TlsMaterial):
        rig.set_chain(new)
        rig.set_key(rig.first)
        with pytest.raises(PairMismatchError):
            rig.rotation.rotate()
        assert (rig.host.reloads, rig.log) == (0, [])
        assert read_material(rig.folder / "tls") == rig.first

    def test_files_that_someone_put_there_are_loaded(self, rig: Rig, new: TlsMaterial):
        write_material(rig.folder / "tls", new)
        assert rig.rotation.rotate().new == sha(new)
        assert rig.host.served() == sha(new)


class TestRollBack:
    def test_a_refused_certificate_brings_the_old_one_back(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.host.refuses = lambda material: sha(material) == sha(new)
        with pytest.raises(RotationError, match=r"Caddy answers 400\. The old one is served again\."):
            rig.rotation.rotate()
        assert rig.host.served() == sha(rig.first)
        assert read_material(rig.folder / "tls") == rig.first

    def test_a_reload_that_does_nothing_is_noticed(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.host.stale = True
        with pytest.raises(RotationError, match=rf"serves {sha(rig.first)}, not {sha(new)}.*served again"):
            rig.rotation.rotate()
        assert rig.seconds >= 5
        assert read_material(rig.folder / "tls") == rig.first

    def test_a_connection_that_ends_with_the_old_configuration_is_no_failure(
        self, rig: Rig, new: TlsMaterial
    ):
        rig.set_both(new)
        rig.host.breaks = 3
        assert rig.rotation.rotate().new == sha(new)
        assert rig.seconds < 1

    def test_a_host_that_answers_nobody_any_more_is_noticed(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.host.breaks = 1_000
        with pytest.raises(RotationError, match="reset by peer"):
            rig.rotation.rotate()
        assert read_material(rig.folder / "tls") == rig.first

    def test_a_host_that_is_gone_is_said_to_be(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.host.refuses = lambda _: True
        with pytest.raises(RotationError, match="back in its files, but not seen to be served"):
            rig.rotation.rotate()
        assert read_material(rig.folder / "tls") == rig.first

    def test_without_a_pair_from_before_there_is_none_to_go_back_to(self, rig: Rig, new: TlsMaterial):
        shutil.rmtree(rig.folder / "tls")
        rig.set_both(new)
        rig.host.refuses = lambda _: True
        with pytest.raises(RotationError, match="no pair from before"):
            rig.rotation.rotate()


class TestGoingBack:
    def test_where_the_variables_are_empty_again_the_pair_before_them_is_served(
        self, rig: Rig, new: TlsMaterial
    ):
        rig.set_both(new)
        rig.rotation.rotate()
        rig.unset_both()
        assert rig.rotation.back() == Rotated(sha(new), sha(rig.first))
        assert rig.host.served() == sha(rig.first)
        assert rig.rotation.back() == Rotated(sha(rig.first), sha(rig.first))

    def test_where_they_hold_a_pair_it_is_served(self, rig: Rig, new: TlsMaterial):
        good = self_signed([IP])
        for pair in (good, new, good):
            rig.set_both(pair)
            served = (rig.rotation.back() if pair is good else rig.rotation.rotate()).new
            assert served == rig.host.served() == sha(pair)

    def test_a_pair_that_nobody_gave_stays(self, rig: Rig, new: TlsMaterial):
        write_material(rig.folder / "tls", new)
        assert rig.rotation.back().new == sha(new) == rig.host.served()

    def test_a_change_that_never_was_served_is_no_change(self, rig: Rig, new: TlsMaterial):
        rig.set_both(new)
        rig.host.refuses = lambda material: sha(material) == sha(new)
        with pytest.raises(RotationError):
            rig.rotation.rotate()
        rig.unset_both()
        assert rig.rotation.back().new == sha(rig.first)

    def test_a_pair_that_was_given_at_the_start_can_go_back_to_none(self, rig: Rig, new: TlsMaterial):
        shutil.rmtree(rig.folder / "tls")
        rig.set_both(new)
        init_tls(rig.load())
        rig.unset_both()
        with pytest.raises(RotationError, match="no pair from before"):
            rig.rotation.back()
        assert sha(new) == fingerprint((rig.folder / "tls" / "fullchain.pem").read_bytes())


@pytest.mark.parametrize(
    ("chain", "key", "given"), [(0, 0, False), (1, 0, False), (0, 1, False), (1, 1, True)]
)
def test_a_pair_is_given_where_both_variables_are_there(
    rig: Rig, new: TlsMaterial, chain: int, key: int, given: bool
):
    for wanted, write in ((chain, rig.set_chain), (key, rig.set_key)):
        if wanted:
            write(new)
    assert rig.rotation.given() is given


class TestWaiting:
    @pytest.mark.parametrize("key_first", [True, False])
    def test_variables_written_in_either_order_are_awaited(self, rig: Rig, new: TlsMaterial, key_first: bool):
        rig.set_both(rig.first)
        steps = [lambda: rig.set_key(new), lambda: rig.set_chain(new)]
        rig.while_waiting = [lambda: None, *(steps if key_first else reversed(steps))]
        assert rig.rotation.rotate(wait_s=60).new == sha(new)
        assert rig.host.served() == sha(new)
        assert rig.seconds < 1

    def test_the_host_can_start_meanwhile(self, rig: Rig, new: TlsMaterial):
        rig.while_waiting = [lambda: init_tls(rig.load()) and None, lambda: rig.set_both(new)]
        assert rig.rotation.rotate(wait_s=60).new == sha(new)

    def test_half_a_pair_at_the_end_is_the_error(self, rig: Rig, new: TlsMaterial):
        rig.set_chain(new)
        rig.set_key(rig.first)
        with pytest.raises(PairMismatchError):
            rig.rotation.rotate(wait_s=1)

    def test_nothing_new_at_the_end_is_the_error(self, rig: Rig):
        rig.set_both(rig.first)
        with pytest.raises(RotationError, match="no new certificate came within 1 s"):
            rig.rotation.rotate(wait_s=1)
        assert rig.host.reloads == 0


class TestRenewal:
    def test_prepare_rotate_drop(self, rig: Rig):
        """What consumers trust at each step is what is served then, and what comes next."""
        prepared = rig.rotation.prepare(Renewal(wanted=True))
        assert rig.host.served() == sha(rig.first)
        assert rig.parameters.trusted() == {sha(rig.first), prepared.new}
        rotated = rig.rotation.rotate(Renewal(wanted=True))
        assert rotated == Rotated(sha(rig.first), prepared.new)  # nothing left to publish
        assert rig.host.served() == prepared.new
        assert len(rig.rotation.drop_old()) == 2
        assert rig.parameters.trusted() == {prepared.new}
        assert not (rig.folder / "next").exists()
        assert rig.rotation.rotate(Renewal(wanted=True)).new != prepared.new

    def test_a_leaf_of_the_same_authority_needs_nothing_from_consumers(self, rig: Rig):
        rig.variables["MEDIA_TLS_PRIVATE_CA"] = "true"
        first = rig.rotation.rotate(Renewal(wanted=True))
        second = rig.rotation.rotate(Renewal(wanted=True))
        assert first.new != second.new == rig.host.served()
        assert first.published
        assert second.published == ()

    def test_a_new_authority_is_announced_then_serves_then_is_the_one_that_issues(self, rig: Rig):
        rig.variables["MEDIA_TLS_PRIVATE_CA"] = "true"
        rig.rotation.rotate(Renewal(wanted=True))
        old = PrivateCa.load(rig.folder / "ca")
        prepared = rig.rotation.prepare(Renewal(new_ca=True))
        kept = PrivateCa.load(rig.folder / "ca")
        assert old is not None
        assert kept is not None
        assert kept.pem == old.pem  # a leaf that falls due meanwhile is still the old one's
        assert rig.rotation.rotate(Renewal(new_ca=True)).new == prepared.new
        new = PrivateCa.load(rig.folder / "ca")
        assert new is not None
        assert fingerprint(new.pem) in rig.parameters.trusted() > {fingerprint(old.pem)}
        rig.rotation.drop_old()
        assert fingerprint(old.pem) not in rig.parameters.trusted()
        again = rig.rotation.rotate(Renewal(wanted=True))
        assert again.published == ()

    def test_the_old_is_not_dropped_while_it_is_served(self, rig: Rig, new: TlsMaterial):
        write_material(rig.folder / "tls", new)
        with pytest.raises(RotationError, match="still served"):
            rig.rotation.drop_old()


class TestTrust:
    def test_what_another_host_needs_stays(self, rig: Rig, new: TlsMaterial):
        elsewhere = self_signed(["10.0.1.31"])
        rig.parameters.values[VOICE] = b64(elsewhere.ca_pem)
        trust(rig.parameters, PREFIX, add=[rig.first])
        trust(rig.parameters, PREFIX, add=[new], drop=rig.first)
        assert rig.parameters.trusted() == {sha(elsewhere), sha(new)}

    def test_what_has_expired_goes(self, rig: Rig):
        rig.parameters.values[VOICE] = b64(self_signed([IP], days=0).ca_pem)
        trust(rig.parameters, PREFIX, add=[rig.first])
        assert rig.parameters.trusted() == {sha(rig.first)}

    @pytest.mark.parametrize("broken", ["x", "bm8gcGVt", "-----BEGIN CERTIFICATE-----"])
    def test_what_nobody_can_read_is_replaced(self, rig: Rig, broken: str):
        rig.parameters.values[VOICE] = broken
        assert trust(rig.parameters, PREFIX, add=[rig.first])
        assert rig.parameters.trusted() == {sha(rig.first)}

    def test_what_is_there_already_is_not_written_again(self, rig: Rig):
        trust(rig.parameters, PREFIX, add=[rig.first])
        rig.log.clear()
        assert trust(rig.parameters, PREFIX, add=[rig.first], drop=rig.first) == []
        assert rig.log == []


def test_an_expired_pair_in_the_variables_changes_nothing(rig: Rig):
    rig.set_both(self_signed([IP], days=0))
    with pytest.raises(TlsMaterialError, match="expired"):
        rig.rotation.rotate()
    assert rig.host.reloads == 0
