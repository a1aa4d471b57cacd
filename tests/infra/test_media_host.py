"""The media host: its addresses, what outlives what, what it may do, what is installed on it."""

import json
import os
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from livedub import __version__
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from tests.infra.conftest import FROM_THE_DEPLOYER, ROOT, Part, Synthesized, given, synthesize_into
from tests.infra.played_host import variables_of


@pytest.fixture
def media(prod: Synthesized) -> Part:
    return prod.part("media")


def only(part: Part, kind: str) -> dict[str, Any]:
    [resource] = part.of_type(kind).values()
    return resource["Properties"]


def joined(value: Any) -> str:
    """A string of a template, with references as <Name>."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return separator.join(joined(part) for part in parts)
    for reference in ("Fn::GetAtt", "Fn::ImportValue", "Ref"):
        if reference in value:
            name = value[reference]
            return f"<{name[0] if isinstance(name, list) else name}>"
    return f"<{json.dumps(value)}>" if "Fn::Sub" not in value else value["Fn::Sub"]


# --- addresses and volumes


def test_the_addresses_are_there_before_the_machine_and_stay_without_it(media: Part):
    interface = only(media, "AWS::EC2::NetworkInterface")
    assert interface["PrivateIpAddress"] == "10.0.100.30"
    [interface_id] = media.of_type("AWS::EC2::NetworkInterface")
    [address_id] = media.of_type("AWS::EC2::EIP")
    [(association_id, association)] = media.of_type("AWS::EC2::EIPAssociation").items()
    assert association["Properties"]["NetworkInterfaceId"] == {"Ref": interface_id}
    assert association["Properties"]["AllocationId"] == {"Fn::GetAtt": [address_id, "AllocationId"]}
    [machine] = media.of_type("AWS::EC2::Instance").values()
    assert machine["Properties"]["NetworkInterfaces"] == [
        {"DeviceIndex": "0", "NetworkInterfaceId": {"Ref": interface_id}}
    ]
    # Its first boot fetches from S3: without a way out it would wait for nothing.
    assert association_id in machine["DependsOn"]
    assert media.of_type("AWS::EC2::EIP")[address_id]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_the_interface_is_in_a_public_subnet_behind_the_media_doors_alone(prod: Synthesized, media: Part):
    interface = only(media, "AWS::EC2::NetworkInterface")
    [group] = interface["GroupSet"]
    network = prod.part("network")
    part, made = prod.origin("media", group)
    assert part == "network"
    [group_id] = made["Fn::GetAtt"][:1]
    assert "Media" in group_id
    part, made = prod.origin("media", interface["SubnetId"])
    assert (part, network.resources[made["Ref"]]["Properties"]["CidrBlock"]) == ("network", "10.0.100.0/24")


def test_nobody_is_let_in_by_this_stack(media: Part):
    for kind in ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"):
        assert not media.of_type(kind)


def test_the_machine_has_its_image_an_encrypted_disk_and_the_newer_metadata_service_alone(media: Part):
    machine = only(media, "AWS::EC2::Instance")
    assert machine["ImageId"] == FROM_THE_DEPLOYER["media_image"]
    assert machine["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpPutResponseHopLimit": 1,
        "HttpTokens": "required",
    }
    assert "KeyName" not in machine
    [disk] = machine["BlockDeviceMappings"]
    assert (disk["DeviceName"], disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"]) == (
        "/dev/xvda",
        True,
        "gp3",
    )


def test_recordings_are_on_an_encrypted_volume_that_outlives_the_machine(
    prod: Synthesized, local: Synthesized
):
    for each, policy in ((prod, "RetainExceptOnCreate"), (local, "Delete")):
        part = each.part("media")
        [(volume_id, volume)] = part.of_type("AWS::EC2::Volume").items()
        assert volume["Properties"]["Encrypted"] is True
        assert volume["DeletionPolicy"] == policy
        [attached] = only(part, "AWS::EC2::Instance")["Volumes"]
        assert attached["VolumeId"] == {"Ref": volume_id}


@pytest.mark.slow
def test_without_the_machine_everything_else_stays(prod: Synthesized, tmp_path: Path, sources: Any):
    without = synthesize_into(tmp_path, given("prod", media_host="off", media_image=""), sources).part(
        "media"
    )
    resources = prod.part("media").resources
    gone = Counter(each["Type"] for name, each in resources.items() if name not in without.resources)
    assert gone == {
        "AWS::CloudWatch::Alarm": 1,
        "AWS::EC2::Instance": 1,
        "AWS::IAM::InstanceProfile": 1,
        "AWS::SSM::Association": 1,
    }
    assert {name: each for name, each in resources.items() if name in without.resources} == without.resources


# --- rights


def test_the_host_may_do_what_it_does_and_no_more(prod: Synthesized, media: Part):
    found: dict[str, set[str]] = {}
    for statement in media.statements("Host/Role"):
        assert statement["Effect"] == "Allow"
        for resource in (
            statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        ):
            actions = statement["Action"]
            name = re.sub(r"[0-9a-f]{64}", "DIGEST", joined(resource))
            name = re.sub(
                r"<livedub-prod-state:ExportsOutput(?:Ref|FnGetAtt)(\w+?)[0-9A-F]{8}\w*>", r"<\1>", name
            )
            found.setdefault(name, set()).update(actions if isinstance(actions, list) else [actions])
    agent = found.pop("*")
    assert {action.split(":")[0] for action in agent} == {"ssm", "ssmmessages", "ec2messages", "logs"}
    assert not [action for action in agent if "*" in action or "Parameter" in action or "Send" in action[:8]]
    assets = {name: actions for name, actions in found.items() if "-assets-" in name}
    assert {name.rsplit("/", 1)[-1] for name in assets} == {
        "DIGEST.zip",
        "DIGEST.whl",
        "DIGEST.gz",
        "DIGEST.deb",
        "DIGEST.sh",
    }
    assert all(actions == {"s3:GetObject"} for actions in assets.values())
    rest = {name: actions for name, actions in found.items() if name not in assets}
    assert rest == {
        "<SecretsRelayKey>": {"secretsmanager:GetSecretValue"},
        "<MediaIn>": {"s3:ListBucketMultipartUploads"},
        "<MediaIn>/live/*": {"s3:ListMultipartUploadParts", "s3:PutObject"},
        next(name for name in rest if "HostLogsGroup" in name): {"logs:CreateLogStream", "logs:PutLogEvents"},
        next(name for name in rest if "HostCommands" in name): {
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
        },
    }
    assert not media.of_type("AWS::IAM::Role").popitem()[1]["Properties"].get("ManagedPolicyArns")


def test_no_secret_is_in_the_template(media: Part):
    text = json.dumps(media.template)
    assert "{{resolve:" not in text
    assert '"SecretString"' not in text


# --- what runs on it


def test_the_first_boot_is_the_checked_scripts_and_small(media: Part):
    text = joined(only(media, "AWS::EC2::Instance")["UserData"]["Fn::Base64"])
    scripts = [(ROOT / "infra/user_data" / name).read_text() for name in ("host_first_boot.sh", "media.sh")]
    assert text.endswith("".join(scripts))
    head = text.removesuffix("".join(scripts)).splitlines()
    assert head[0] == "#!/usr/bin/env bash"
    exported = dict(re.findall(r"(\w+)=(\S+)", head[1]))
    assert set(exported) == {"AWS_REGION", "SSM_AGENT_URL", "RECORDINGS_VOLUME"}
    assert re.fullmatch(r"s3://\S+/[0-9a-f]{64}\.deb", exported["SSM_AGENT_URL"])
    assert len(text) < 4_096, "AWS takes 16 kB; half of that in base64 is small"


def commands(part: Part) -> tuple[list[str], dict[str, str]]:
    found = [joined(each) for each in only(part, "AWS::SSM::Association")["Parameters"]["commands"]]
    exported = dict(pair for each in found for pair in re.findall(r"^export (\w+)='(.*)'$", each))
    return found, exported


def test_a_deployment_installs_what_it_holds_and_waits_for_it(prod: Synthesized, media: Part):
    installation = only(media, "AWS::SSM::Association")
    [machine] = media.of_type("AWS::EC2::Instance")
    assert installation["Targets"] == [{"Key": "InstanceIds", "Values": [{"Ref": machine}]}]
    assert installation["WaitForSuccessTimeoutSeconds"] > int(
        installation["Parameters"]["executionTimeout"][0]
    )
    found, exported = commands(media)
    # The agent is installed by the first boot; its address is in the release all the same.
    assert set(exported) - {"SSM_AGENT_URL"} == variables_of("release_install.sh", "media_install.sh")
    assert exported["PRIVATE_IP"] == "10.0.100.30"
    assert exported["API_NETWORKS"] == "10.0.0.0/16"
    assert exported["RECORD"] == "no"
    for name, suffix in (("PACKAGES", "zip"), ("LIVEDUB", "whl"), ("MEDIAMTX", "gz")):
        assert re.fullmatch(rf"s3://\S+/[0-9a-f]{{64}}\.{suffix}", exported[f"{name}_URL"])
    assert re.fullmatch(r"[0-9a-f]{16}", exported["RELEASE_ID"])
    assert found[0] == "set -eu"
    assert found[-1] == 'bash "$script"'


def test_what_fetches_the_installation_waits_for_its_rights_and_not_for_ever(media: Part, tmp_path: Path):
    found, _ = commands(media)
    tried = tmp_path / "tried"
    aws = tmp_path / "aws"
    # The third try is allowed.
    aws.write_text(
        f'#!/bin/bash\necho >>{tried}\n[ "$(wc -l <{tried})" -ge 3 ] && echo "echo installed $RECORD" >"${{@: -1}}"\n'
    )
    sleep = tmp_path / "sleep"
    sleep.write_text("#!/bin/sh\n")
    for program in (aws, sleep):
        program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", re.sub(r"<[^>]*>", "reference", "\n".join(found))],
        env={"PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "installed no\n"), done.stderr
    assert any(each.startswith("timeout 300 ") for each in found)


def test_an_image_that_brings_them_needs_neither_archive(local: Synthesized):
    part = local.part("media")
    _, exported = commands(part)
    assert exported["MEDIAMTX_URL"] == ""
    assert "SSM_AGENT_URL" not in exported
    assert "SSM_AGENT_URL= " in joined(only(part, "AWS::EC2::Instance")["UserData"]["Fn::Base64"])


def test_what_is_not_built_is_said(sources: Any, tmp_path: Path):
    from infra.sources import Sources  # noqa: PLC0415
    from infra.stacks.media import _archives  # noqa: PLC0415

    config = given("prod")
    archives = _archives(config, Sources(sources.checkout, tmp_path))
    assert set(archives) == {"PACKAGES", "LIVEDUB", "MEDIAMTX", "SSM_AGENT"}
    for archive in archives.values():
        with pytest.raises(MissingPrerequisiteError, match=r"is missing.*make build"):
            archive.checked()
    assert str(archives["LIVEDUB"].path).endswith(f"wheels/livedub-{__version__}-py3-none-any.whl")


# --- the configuration


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"private_ip": "10.0.16.9"}, r"media\.private_ip 10\.0\.16\.9 is outside of network\.public\[0\]"),
        ({"private_ip": "10.0.100.3"}, r"media\.private_ip 10\.0\.100\.3 is kept by AWS.*10\.0\.100\.4"),
        ({"private_ip": "10.0.100.255"}, "is kept by AWS"),
        ({"private_ip": "media"}, r"media\.private_ip 'media' is no IPv4 address"),
        ({"image": "latest"}, r"media\.image 'latest' is no image"),
        ({"instance_type": "large"}, r"media\.instance_type 'large' is none"),
        ({"recordings_gb": 0}, r"media\.recordings_gb is 0"),
        ({"image_brings": ("nginx",)}, r"media\.image_brings names 'nginx'.*mediamtx, ssm-agent"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(values: dict[str, Any], said: str):
    config = given("prod")
    with pytest.raises(ConfigurationError, match=said):
        replace(config, media=replace(config.media, **values))


def test_an_image_is_whoevers_who_deploys():
    with pytest.raises(
        ConfigurationError, match=r"media\.image is not set.*-c media_image=ami-\.\.\..*debian/release/12"
    ):
        given("prod", media_image="").media.checked_image()
