"""Daily snapshots of what cannot be made again, and volumes made from them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.cost_idle import idle_month
from infra.cost_lines import Prices
from infra.host_checks import check_made_from, check_snapshots
from infra.media_config import MediaConfig
from infra.network_config import MediaCacheConfig
from infra.workers_config import GpuHostConfig
from livedub.errors import ConfigurationError
from tests.infra.conftest import Part, Synthesized, SynthesizeOnce, given

POLICY = "AWS::DLM::LifecyclePolicy"
TAG = {"Key": "livedub:snapshots", "Value": "prod-recordings"}


@pytest.fixture
def media(prod: Synthesized) -> Part:
    return prod.part("media")


@pytest.fixture
def replaced(synthesize_once: SynthesizeOnce) -> Synthesized:
    """Volumes of `prod` after they were lost."""

    def config() -> Any:
        prod = given("prod")
        return replace(
            prod,
            media=replace(prod.media, recordings_from="snap-0123456789abcdef0"),
            media_cache=replace(
                prod.media_cache, volume_from="snap-0123456789abcdef1", tls_from="empty-1", volume_snapshots=3
            ),
        )

    return synthesize_once("prod-with-other-volumes", config)


def volumes(part: Part) -> dict[str, dict[str, Any]]:
    return part.of_type("AWS::EC2::Volume")


def only(part: Part, kind: str) -> dict[str, Any]:
    [resource] = part.of_type(kind).values()
    return resource["Properties"]


def tagged_for_snapshots(part: Part) -> list[dict[str, str]]:
    return [
        tag
        for volume in volumes(part).values()
        for tag in volume["Properties"]["Tags"]
        if tag["Key"] == TAG["Key"]
    ]


def test_what_was_recorded_is_copied_every_day_and_copies_of_a_week_are_kept(media: Part):
    policy = only(media, POLICY)
    assert policy["State"] == "ENABLED"
    details = policy["PolicyDetails"]
    assert details["ResourceTypes"] == ["VOLUME"]
    [schedule] = details["Schedules"]
    assert schedule["CreateRule"] == {"Interval": 24, "IntervalUnit": "HOURS", "Times": ["03:00"]}
    assert schedule["RetainRule"] == {"Count": 7}
    assert schedule["CopyTags"] is True


def test_the_policy_finds_its_volume_and_no_other_of_the_account(prod: Synthesized, media: Part):
    assert only(media, POLICY)["PolicyDetails"]["TargetTags"] == [TAG]
    found = [tag for part in prod.parts.values() for tag in tagged_for_snapshots(part)]
    assert found == [TAG]


def test_what_can_be_made_again_and_the_authoritys_key_are_not_copied(
    prod: Synthesized, replaced: Synthesized
):
    assert not prod.part("media-cache").of_type(POLICY)
    # Where somebody wants it, it is of the data alone.
    part = replaced.part("media-cache")
    assert only(part, POLICY)["PolicyDetails"]["Schedules"][0]["RetainRule"] == {"Count": 3}
    [data] = [each for name, each in volumes(part).items() if name.startswith("HostData")]
    assert {"Key": TAG["Key"], "Value": "prod-media-data"} in data["Properties"]["Tags"]
    assert len(tagged_for_snapshots(part)) == 1


def test_an_environment_to_try_things_in_makes_none(local: Synthesized):
    for part in local.parts.values():
        assert not part.of_type(POLICY)
    assert given("dev").media.recordings_snapshots == 0
    assert given("staging").media.recordings_snapshots == 7


def test_the_role_copies_volumes_with_the_tag_and_removes_copies_with_it(media: Part):
    found = {
        action: (str(statement["Resource"]), statement.get("Condition"))
        for statement in media.statements("Host/Snapshots/Role")
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
        if "volume/*" in str(statement["Resource"]) or action != "ec2:CreateSnapshot"
    }
    ours = {"StringEquals": {"aws:ResourceTag/livedub:snapshots": "prod-recordings"}}
    assert {action: condition for action, (_, condition) in found.items()} == {
        "ec2:CreateSnapshot": ours,
        "ec2:CreateTags": None,
        "ec2:DeleteSnapshot": ours,
        "ec2:DescribeInstances": None,
        "ec2:DescribeSnapshots": None,
        "ec2:DescribeVolumes": None,
    }
    for action in ("ec2:CreateTags", "ec2:DeleteSnapshot"):
        assert "::snapshot/*" in found[action][0]
    _, role = media.named("Host/Snapshots/Role")
    [trust] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "dlm.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_somebody_is_told_when_a_copy_fails(media: Part):
    [policy_id] = media.of_type(POLICY)
    [alarm] = [
        each["Properties"]
        for each in media.of_type("AWS::CloudWatch::Alarm").values()
        if each["Properties"]["AlarmName"] == "livedub-prod-recordings-snapshots-failing"
    ]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/EBS", "SnapshotsCreateFailed")
    assert alarm["Dimensions"] == [{"Name": "DLMPolicyId", "Value": {"Ref": policy_id}}]


# --- a volume in another's place


def test_a_volume_from_a_snapshot_takes_the_place_of_the_one_before(
    prod: Synthesized, replaced: Synthesized, media: Part
):
    part = replaced.part("media")
    [(made_id, made)] = volumes(part).items()
    # As large as the configuration says: a file system grows into it, and never shrinks.
    assert made["Properties"]["Size"] == 100
    assert made["Properties"]["SnapshotId"] == "snap-0123456789abcdef0"
    assert made["Properties"]["Encrypted"] is True
    assert made["DeletionPolicy"] == "RetainExceptOnCreate"
    # Another resource: CloudFormation would refuse another snapshot of the same one. The one before stays in the account.
    [(before_id, before)] = volumes(media).items()
    assert before_id != made_id
    assert before["DeletionPolicy"] == "RetainExceptOnCreate"
    assert "SnapshotId" not in before["Properties"]
    machine = only(part, "AWS::EC2::Instance")
    assert f"RECORDINGS_VOLUME=', {{'Ref': '{made_id}'}}" in str(machine["UserData"])
    # Snapshots go on, of the new one.
    assert tagged_for_snapshots(part) == [TAG]


def test_a_volume_of_which_there_is_no_snapshot_is_replaced_by_an_empty_one(
    prod: Synthesized, replaced: Synthesized
):
    before, after = (volumes(each.part("media-cache")) for each in (prod, replaced))
    [tls_before] = [name for name in before if name.startswith("HostTls")]
    [tls_after] = [name for name in after if name.startswith("HostTls")]
    assert tls_before != tls_after
    assert "SnapshotId" not in after[tls_after]["Properties"]


def test_no_other_resource_comes_or_goes_with_a_volume(replaced: Synthesized, media: Part):
    before, after = media.resources, replaced.part("media").resources
    assert [before[name]["Type"] for name in before.keys() - after.keys()] == ["AWS::EC2::Volume"]
    assert [after[name]["Type"] for name in after.keys() - before.keys()] == ["AWS::EC2::Volume"]


@pytest.mark.parametrize("wrong", ["vol-0123456789abcdef0", "snap-", "snap-XYZ", "empty", "empty-", "latest"])
@pytest.mark.parametrize(
    ("made", "key"),
    [
        (lambda text: MediaConfig(recordings_from=text), "media.recordings_from"),
        (lambda text: MediaCacheConfig(volume_from=text), "media_cache.volume_from"),
        (lambda text: MediaCacheConfig(tls_from=text), "media_cache.tls_from"),
        (lambda text: GpuHostConfig(models_from=text), "gpu_host.models_from"),
    ],
)
def test_what_no_volume_can_be_made_from_is_refused(made: Callable[[str], Any], key: str, wrong: str):
    with pytest.raises(ConfigurationError, match=key) as refused:
        made(wrong)
    assert refused.value.remedy
    for right in ("", "snap-01234567", "snap-0123456789abcdef0", "empty-1"):
        made(right)


@pytest.mark.parametrize("wrong", [-1, 1_001])
def test_more_snapshots_than_are_kept_are_refused(wrong: int):
    with pytest.raises(ConfigurationError, match=r"media\.recordings_snapshots"):
        MediaConfig(recordings_snapshots=wrong)
    with pytest.raises(ConfigurationError, match=r"media_cache\.volume_snapshots"):
        MediaCacheConfig(volume_snapshots=wrong)
    for right in (0, 1_000):
        check_snapshots("any", right)


def test_no_key_is_needed_for_the_volume_that_is_first_made():
    check_made_from("any", "")


def test_snapshots_of_an_empty_volume_are_in_the_estimate(prod: Synthesized):
    templates = {"media": prod.part("media").template}
    [line] = [each for each in idle_month(templates, Prices.read()).lines if "snapshots" in each.item]
    assert (line.part, line.quantity, line.price) == ("media", 2.0, "ebs.snapshot")
