"""A new key and certificate by the two stores alone: the machine, the functions, the host and its consumers do the rest."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import TlsMaterial, self_signed
from livedub.media_cache.tls_rotation.versions import Versions
from tests.integration.local_aws.rig import Aws, eventually, running_server

from .rotation_rig import RotationRig, b64, rotation_rig, sha, under_load

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def first() -> TlsMaterial:
    """What the host has made itself."""
    return PrivateCa.create().issue_leaf(["127.0.0.1"])


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, first: TlsMaterial) -> Iterator[RotationRig]:
    folder = tmp_path_factory.mktemp("r")
    with running_server() as server, rotation_rig(Aws(server.endpoint), folder, first) as made:
        yield made


@pytest.fixture(autouse=True)
def undisturbed(rig: RotationRig) -> None:
    """What a test before left running when it failed is not this one's."""
    rig.quiet()


def change(rig: RotationRig, new: TlsMaterial, *, key_first: bool) -> None:
    """Both stores; the second when the first has been noticed."""
    before = rig.executions()
    if key_first:
        rig.set_key(new.privkey_pem)
        rig.set_chain(new)
    else:
        rig.set_chain(new)
        execution = rig.started(before)
        eventually(lambda: "WaitForOtherHalf" in rig.states(execution), "the wait for the key")
        rig.set_key(new.privkey_pem)


def goes_back(rig: RotationRig, how: str) -> list[str]:
    """A pair that is good, and a host that is not; the states of the execution. Nobody notices, nothing stays."""
    served, stored, trusted, before = rig.served(), rig.stored(), rig.trusted(), rig.executions()
    new = self_signed(["127.0.0.1"])
    with under_load(rig) as load, rig.refusing(how):
        rig.set_key(new.privkey_pem)
        rig.set_chain(new)
        rig.started(before)
        eventually(lambda: failed(rig, before), "the execution that fails", 120)
        rig.quiet()
    assert load.failures == []
    assert (rig.served(), rig.stored(), rig.trusted()) == (served, stored, trusted)
    # What was put back may have been noticed before it was marked, and found the host as it was: it ends alike.
    ends = {name: rig.states(name) for name in failed(rig, before)}
    assert {states[-1] for states in ends.values()} == {"RolledBack"}
    return next(states for name, states in ends.items() if f"-{given(new)}-" in name)


def given(material: TlsMaterial) -> str:
    """What of it is in the names of executions."""
    return Versions.seen(1, b64(material.fullchain_pem), "").chain


def failed(rig: RotationRig, before: Mapping[str, str]) -> list[str]:
    """Executions since `before` that ended otherwise than well."""
    now = rig.executions()
    return [name for name in set(now) - set(before) if now[name] not in {"RUNNING", "SUCCEEDED"}]


def test_what_fails_before_anything_was_ever_given_goes_back_to_what_the_host_made(
    rig: RotationRig, first: TlsMaterial
):
    assert rig.stored()[0] == ""
    states = goes_back(rig, "fails-late")
    assert states[-1] == "RolledBack"
    assert rig.served() == sha(first)


@pytest.mark.parametrize("key_first", [False, True])
def test_a_pair_of_another_authority_in_either_order_without_a_failed_request(
    rig: RotationRig, key_first: bool
):
    old, new, before = rig.served(), self_signed(["127.0.0.1"]), rig.executions()
    with under_load(rig) as load:
        change(rig, new, key_first=key_first)
        eventually(lambda: rig.served() == sha(new), "the new certificate", 120)
        assert sha(new) in rig.trusted()
        executions = rig.quiet()
        eventually(lambda: rig.trusted() == {sha(new)}, "what vouched for the old one is out")
    assert load.failures == []
    assert load.requests > 100
    assert old != rig.served() == sha(new)
    assert failed(rig, before) == []
    assert [rig.states(one)[-1] for one in set(executions) - set(before)].count("Rotated") == 1


@pytest.mark.parametrize(("how", "look"), [("fails", False), ("fails-late", False), ("idles", True)], ids=str)
def test_a_host_that_fails_goes_back_to_the_pair_before(rig: RotationRig, how: str, look: bool):
    if not rig.stored()[0]:
        change(rig, self_signed(["127.0.0.1"]), key_first=True)
        eventually(lambda: any("Rotated" in rig.states(one) for one in rig.executions()), "a pair", 120)
    states = goes_back(rig, how)
    assert states[-1] == "RolledBack"
    assert ("LookAtHost" in states) is look


def test_a_certificate_for_another_host_goes_back_and_nobody_notices(rig: RotationRig):
    served, stored, trusted = rig.served(), rig.stored(), rig.trusted()
    wrong = self_signed(["10.9.9.9"])
    before = rig.quiet()
    with under_load(rig) as load:
        rig.set_key(wrong.privkey_pem)
        rig.set_chain(wrong)
        eventually(lambda: rig.stored() == stored, "the stores are as they were", 120)
        rig.quiet()
    assert (rig.served(), rig.trusted()) == (served, trusted)
    assert load.failures == []
    assert [rig.states(one)[-1] for one in failed(rig, before)] == ["RolledBack"]
    assert b64(wrong.privkey_pem) != rig.stored()[1]["MEDIA_TLS_PRIVKEY_B64"]


def test_a_burst_of_changes_ends_with_the_last_one(rig: RotationRig, tmp_path: Path):
    pairs = [self_signed(["127.0.0.1"]) for _ in range(4)]
    with under_load(rig) as load:
        for pair in pairs:
            rig.set_key(pair.privkey_pem)
            rig.set_chain(pair)
            rig.set_chain(pair)
        eventually(lambda: rig.served() == sha(pairs[-1]), "the last certificate", 120)
        after = rig.quiet()
    assert load.failures == []
    assert set(after.values()) <= {"SUCCEEDED", "FAILED"}
    assert rig.stored()[0] == b64(pairs[-1].fullchain_pem)
    assert sha(pairs[-1]) in rig.trusted()
