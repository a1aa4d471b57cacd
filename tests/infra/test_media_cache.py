"""Network and media cache: who reaches whom, who may do what, what outlives what."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.sources import Sources
from infra.stacks.media_cache import _host_sources
from livedub.errors import ConfigurationError, MissingPrerequisiteError
from tests.infra.conftest import (
    FROM_THE_DEPLOYER,
    ROOT,
    Synthesize,
    SynthesizeOnce,
    given,
    synthesize_into,
)
from tests.infra.conftest import Synthesized as Environment
from tests.infra.played_host import SCRIPTS, variables_of

INSTALL = ("release_install.sh", "media_cache_install.sh")

if TYPE_CHECKING:
    from infra.config import EnvironmentConfig

IMAGE = FROM_THE_DEPLOYER["media_cache_image"]
PUBLISHERS = "203.0.113.0/28"


@dataclass(frozen=True)
class Synthesized:
    whole: Environment

    @property
    def folder(self) -> Path:
        return self.whole.folder

    @property
    def network(self) -> dict[str, Any]:
        return self.whole.part("network").template

    @property
    def cache(self) -> dict[str, Any]:
        return self.whole.part("media-cache").template

    @property
    def state(self) -> dict[str, Any]:
        return self.whole.part("state").template


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        name: each.get("Properties", {})
        for name, each in template["Resources"].items()
        if each["Type"] == kind
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _somewhere() -> "EnvironmentConfig":
    """`prod` in an account and region, with publishers."""
    from dataclasses import replace  # noqa: PLC0415

    prod = given("prod")
    return replace(
        prod,
        account="123456789012",
        region="eu-west-1",
        network=replace(prod.network, publishers=(PUBLISHERS,)),
    )


@pytest.fixture
def prod(synthesize_once: SynthesizeOnce) -> Synthesized:
    return Synthesized(synthesize_once("prod-somewhere", _somewhere))


@pytest.fixture
def dev(synthesize: Synthesize) -> Synthesized:
    return Synthesized(synthesize("dev"))


@pytest.fixture
def without_host(synthesize_once: SynthesizeOnce) -> Synthesized:
    return Synthesized(synthesize_once("dev-without-cache", lambda: given("dev", media_cache_host="off")))


# --- the network


def test_subnets_are_those_of_the_configuration(prod: Synthesized):
    found = of_type(prod.network, "AWS::EC2::Subnet")
    assert {each["CidrBlock"] for each in found.values()} == {
        "10.0.100.0/24",
        "10.0.101.0/24",
        "10.0.16.0/20",
        "10.0.32.0/20",
        "10.0.1.0/24",
        "10.0.2.0/24",
    }
    assert not [name for name, each in found.items() if each.get("MapPublicIpOnLaunch")]


def test_the_isolated_subnets_have_no_way_out(prod: Synthesized):
    tables = {name for name in of_type(prod.network, "AWS::EC2::RouteTable") if "isolated" in name}
    assert len(tables) == 2
    routed = {each["RouteTableId"]["Ref"] for each in of_type(prod.network, "AWS::EC2::Route").values()}
    assert len(routed) == 4
    assert not tables & routed


def test_the_isolated_subnets_have_these_endpoints_alone(prod: Synthesized):
    endpoints = of_type(prod.network, "AWS::EC2::VPCEndpoint")
    interfaces = {
        each["ServiceName"].rsplit(".", 1)[-1]: each
        for each in endpoints.values()
        if each["VpcEndpointType"] == "Interface"
    }
    assert set(interfaces) == {"ssm", "ssmmessages", "ec2messages", "secretsmanager", "logs"}
    for each in interfaces.values():
        assert each["PrivateDnsEnabled"] is True
        assert len(each["SubnetIds"]) == 1
    [gateway] = [each for each in endpoints.values() if "isolated" in json.dumps(each.get("RouteTableIds"))]
    assert json.dumps(gateway["ServiceName"]).count("s3") == 1
    [statement] = gateway["PolicyDocument"]["Statement"]
    assert statement["Action"] == "s3:GetObject"
    assert {joined(each).split(":::")[-1] for each in statement["Resource"]} == {
        "cdk-hnb659fds-assets-123456789012-eu-west-1/*",
        "al2023-repos-eu-west-1-de612dc2/*",
    }


def test_the_private_subnets_reach_s3_past_the_nat_gateway(prod: Synthesized):
    endpoints = of_type(prod.network, "AWS::EC2::VPCEndpoint").values()
    [gateway] = [each for each in endpoints if "private" in json.dumps(each.get("RouteTableIds"))]
    assert gateway["VpcEndpointType"] == "Gateway"
    tables = {each["Ref"] for each in gateway["RouteTableIds"]}
    assert tables == {name for name in of_type(prod.network, "AWS::EC2::RouteTable") if "private" in name}


def openings(template: dict[str, Any]) -> Counter[tuple[str, str, int]]:
    """Every way in: from whom, to whom, at which port."""
    groups = {
        name: re.sub(r"^Doors|[0-9A-F]{8}$", "", name)
        for name in of_type(template, "AWS::EC2::SecurityGroup")
    }
    found: Counter[tuple[str, str, int]] = Counter()
    for name, group in of_type(template, "AWS::EC2::SecurityGroup").items():
        for rule in group.get("SecurityGroupIngress", []):
            assert (rule["IpProtocol"], rule["FromPort"]) == ("tcp", rule["ToPort"])
            found[rule["CidrIp"], groups[name], rule["FromPort"]] += 1
    for rule in of_type(template, "AWS::EC2::SecurityGroupIngress").values():
        assert (rule["IpProtocol"], rule["FromPort"]) == ("tcp", rule["ToPort"])
        caller, called = rule["SourceSecurityGroupId"]["Fn::GetAtt"][0], rule["GroupId"]["Fn::GetAtt"][0]
        found[groups[caller], groups[called], rule["FromPort"]] += 1
    return found


INSIDE = Counter(
    [
        ("Workers", "Media", 1935),
        ("Workers", "Media", 9995),
        ("Workers", "Media", 9997),
        ("Workers", "Media", 9998),
        ("Workers", "Cache", 8443),
        ("Cleanup", "Cache", 8443),
        ("Rotation", "Cache", 8443),
        ("Cache", "Database", 5432),
        ("Cleanup", "Database", 5432),
        ("Library", "Database", 5432),
        ("Media", "Endpoints", 443),
        ("Workers", "Endpoints", 443),
        ("Library", "Endpoints", 443),
        ("Cache", "Endpoints", 443),
        ("Cleanup", "Endpoints", 443),
        ("Rotation", "Endpoints", 443),
    ]
)


def test_nobody_is_let_in_but_by_these_doors(dev: Synthesized, prod: Synthesized):
    assert openings(dev.network) == INSIDE
    assert openings(prod.network) == INSIDE + Counter([(PUBLISHERS, "Media", 1935)])
    for template in (dev.cache, prod.cache):
        assert not of_type(template, "AWS::EC2::SecurityGroup")
        assert not of_type(template, "AWS::EC2::SecurityGroupIngress")


def test_what_is_isolated_speaks_to_nobody_else_either(prod: Synthesized):
    inline = {
        re.sub(r"^Doors|[0-9A-F]{8}$", "", name): [
            (rule["CidrIp"], rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"))
            for rule in group["SecurityGroupEgress"]  # with none, AWS lets everything out
        ]
        for name, group in of_type(prod.network, "AWS::EC2::SecurityGroup").items()
    }
    everything, nowhere = ("0.0.0.0/0", "-1", None, None), ("127.0.0.1/32", "tcp", 443, 443)
    nothing = ("255.255.255.255/32", "icmp", 252, 86)
    assert inline == {
        "Media": [everything],
        "Workers": [everything],
        "Library": [everything],
        # S3, by the gateway: the subnet's routes lead nowhere else.
        "Cache": [nowhere, ("0.0.0.0/0", "tcp", 443, 443)],
        "Cleanup": [nowhere],
        "Rotation": [nowhere],
        "Database": [nothing],
        "Endpoints": [nothing],
    }
    beside = sorted(
        rule["FromPort"] for rule in of_type(prod.network, "AWS::EC2::SecurityGroupEgress").values()
    )
    assert beside == [443, 443, 443, 5432, 5432, 8443, 8443]


def test_what_was_refused_is_logged_for_a_while(prod: Synthesized):
    [flow] = of_type(prod.network, "AWS::EC2::FlowLog").values()
    assert flow["TrafficType"] == "REJECT"
    [group] = of_type(prod.network, "AWS::Logs::LogGroup").values()
    assert group["RetentionInDays"] == 180


# --- the host


def test_the_host_has_its_address_its_image_and_the_newer_metadata_service_alone(prod: Synthesized):
    [host] = of_type(prod.cache, "AWS::EC2::Instance").values()
    [interface] = host["NetworkInterfaces"]
    part, reference = prod.whole.origin("media-cache", interface["NetworkInterfaceId"])
    address = prod.whole.part(part).resources[reference["Ref"]]["Properties"]
    assert address["PrivateIpAddress"] == "10.0.1.30"
    assert len(address["GroupSet"]) == 1
    assert host["ImageId"] == IMAGE
    assert host["MetadataOptions"]["HttpTokens"] == "required"
    assert host["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert "KeyName" not in host
    assert [each["Ebs"]["Encrypted"] for each in host["BlockDeviceMappings"]] == [True]


def test_the_volumes_are_encrypted_and_outlive_the_host(dev: Synthesized, prod: Synthesized):
    for each, policy in ((prod, "RetainExceptOnCreate"), (dev, "Delete")):
        volumes = {
            name: resource
            for name, resource in each.cache["Resources"].items()
            if resource["Type"] == "AWS::EC2::Volume"
        }
        assert sorted(volume["Properties"]["Size"] for volume in volumes.values()) == [1, 40]
        assert all(volume["Properties"]["Encrypted"] for volume in volumes.values())
        assert {volume["DeletionPolicy"] for volume in volumes.values()} == {policy}
        [host] = of_type(each.cache, "AWS::EC2::Instance").values()
        assert {attached["VolumeId"]["Ref"] for attached in host["Volumes"]} == set(volumes)


def test_without_the_host_everything_else_stays(dev: Synthesized, without_host: Synthesized):
    with_host, without = dev.cache["Resources"], without_host.cache["Resources"]
    gone = Counter(each["Type"] for name, each in with_host.items() if name not in without)
    assert gone == {
        "AWS::EC2::Instance": 1,
        "AWS::IAM::InstanceProfile": 1,
        "AWS::SSM::Association": 1,
        # What changes its certificate; the functions stay.
        "AWS::CloudWatch::Alarm": 1,
        "AWS::Events::Rule": 3,
        "AWS::IAM::Policy": 1,
        "AWS::IAM::Role": 1,
        "AWS::Lambda::Permission": 3,
        "AWS::Logs::LogGroup": 1,
        "AWS::SSM::Document": 1,
        "AWS::StepFunctions::StateMachine": 1,
    }
    kept = {name: each for name, each in with_host.items() if name in without}
    assert kept == without


def joined(value: Any) -> str:
    """A string of a template, with references as <Name>."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return separator.join(joined(part) for part in parts)
    if "Fn::GetAtt" in value:
        return f"<{value['Fn::GetAtt'][0]}>"
    if "Fn::Sub" in value:
        return value["Fn::Sub"]
    return f"<{value.get('Ref') or json.dumps(value)}>"


def test_the_first_boot_is_the_checked_script_and_small(prod: Synthesized):
    [host] = of_type(prod.cache, "AWS::EC2::Instance").values()
    text = joined(host["UserData"]["Fn::Base64"])
    scripts = [
        (ROOT / "infra/user_data" / name).read_text() for name in ("host_first_boot.sh", "media_cache.sh")
    ]
    assert text.endswith("".join(scripts))
    head = text.removesuffix("".join(scripts)).splitlines()
    assert head[0] == "#!/usr/bin/env bash"
    assert re.fullmatch(r"export DATA_VOLUME=<HostData\w+> TLS_VOLUME=<HostTls\w+>", head[1])
    assert len(text) < 4_096, "AWS takes 16 kB; half of that in base64 is small"


def test_a_deployment_installs_what_it_holds_and_waits_for_it(prod: Synthesized):
    [installation] = of_type(prod.cache, "AWS::SSM::Association").values()
    [host] = of_type(prod.cache, "AWS::EC2::Instance")
    assert installation["Name"] == "AWS-RunShellScript"
    assert installation["Targets"] == [{"Key": "InstanceIds", "Values": [{"Ref": host}]}]
    assert installation["WaitForSuccessTimeoutSeconds"] > int(
        installation["Parameters"]["executionTimeout"][0]
    )
    commands = [joined(each) for each in installation["Parameters"]["commands"]]
    exported = {
        name: value for each in commands for name, value in re.findall(r"^export (\w+)='(.*)'$", each)
    }
    assert set(exported) == variables_of(*INSTALL)
    assert exported["PRIVATE_IP"] == "10.0.1.30"
    assert exported["NAMESPACE"] == "livedub/prod"
    for name in ("PACKAGES_URL", "SHARED_URL", "CACHE_URL"):
        assert re.fullmatch(
            r"s3://cdk-hnb659fds-assets-123456789012-eu-west-1/[0-9a-f]{64}\.zip", exported[name]
        )


def test_the_archives_hold_the_units_and_the_package(prod: Synthesized):
    assets = json.loads((prod.folder / "livedub-prod-media-cache.assets.json").read_text())["files"].values()
    folders = [
        prod.folder / each["source"]["path"] for each in assets if each["source"]["packaging"] == "zip"
    ]
    cache = next(folder for folder in folders if (folder / "Caddyfile").is_file())
    wanted = {path.name for path in (ROOT / "media_edge/cache").iterdir() if path.name != "__pycache__"}
    assert {path.name for path in cache.iterdir()} == wanted
    assert [folder for folder in folders if (folder / "python/livedub/media_cache/rotation.py").is_file()]
    scripts = [
        prod.folder / each["source"]["path"] for each in assets if each["source"]["packaging"] == "file"
    ]
    install = b"".join((SCRIPTS / part).read_bytes() for part in INSTALL)
    assert install in [path.read_bytes() for path in scripts]


# --- settings and rights


def test_parameters_and_secret_are_named_as_host_and_consumers_read_them(prod: Synthesized):
    from livedub.media_cache.parameter_store import BUNDLE, PARAMETERS, SECRETS, bundle_parameters  # noqa: PLC0415

    parameters = {each["Name"]: each["Value"] for each in of_type(prod.cache, "AWS::SSM::Parameter").values()}
    assert parameters == {
        "/livedub/prod/media/MEDIA_DATA_DIR": "/mnt/media-data",
        "/livedub/prod/media/MEDIA_TLS_CERT_HOST_PATH": "/opt/services/media",
        "/livedub/prod/voice/TTS_MEDIA_CACHE_BASE_URL": "https://10.0.1.30:8443",
        "/livedub/prod/api/TTS_MEDIA_CACHE_BASE_URL": "https://10.0.1.30:8443",
    }
    assert {name.rsplit("/", 1)[-1] for name in parameters if "/media/" in name} <= set(PARAMETERS)
    [secret] = [
        each for each in of_type(prod.cache, "AWS::SecretsManager::Secret").values() if "Name" in each
    ]
    assert secret["Name"] == "livedub/prod/media/secrets"
    generated = secret["GenerateSecretString"]
    assert {generated["GenerateStringKey"], *json.loads(generated["SecretStringTemplate"])} == set(SECRETS)
    assert generated["PasswordLength"] >= 32
    bundles = [f"parameter{name}" for name in bundle_parameters("/livedub/prod")]
    written = [
        arn
        for statement in statements(prod, "HostRole")
        if "ssm:PutParameter" in as_list(statement["Action"])
        for arn in as_list(statement["Resource"])
    ]
    assert [joined(arn).rsplit(":", 1)[-1] for arn in written] == sorted(bundles)
    assert all(name.endswith(BUNDLE) for name in bundles)


def statements(synthesized: Synthesized, role: str) -> list[dict[str, Any]]:
    [found] = [
        policy["PolicyDocument"]["Statement"]
        for name, policy in of_type(synthesized.cache, "AWS::IAM::Policy").items()
        if name.startswith(role)
    ]
    return found


def rights(synthesized: Synthesized, role: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for statement in statements(synthesized, role):
        assert statement["Effect"] == "Allow"
        for resource in as_list(statement["Resource"]):
            _, made = synthesized.whole.origin("media-cache", resource)
            name = re.sub(r"[0-9A-F]{8}>", ">", joined(made)).rsplit(":", 1)[-1]
            found.setdefault(re.sub(r"[0-9a-f]{64}", "DIGEST", name), set()).update(
                as_list(statement["Action"])
            )
    return found


BUNDLES = {
    "parameter/livedub/prod/voice/TTS_MEDIA_CACHE_CA_BUNDLE",
    "parameter/livedub/prod/api/TTS_MEDIA_CACHE_CA_BUNDLE",
}
SECRETS_READ = {"<VoiceSecret>", "<CatalogueInstanceSecretAttachment>"}
ASSETS = "cdk-hnb659fds-assets-123456789012-eu-west-1/DIGEST"


def test_the_host_may_do_what_it_does_and_no_more(prod: Synthesized):
    found = rights(prod, "HostRole")
    agent = found.pop("*")
    assert {action.split(":")[0] for action in agent} == {"ssm", "ssmmessages", "ec2messages", "logs"}
    assert not [action for action in agent if "*" in action or "Parameter" in action or "Send" in action[:8]]
    assert found == {
        **{name: {"ssm:GetParameters", "ssm:PutParameter"} for name in BUNDLES},
        **{
            f"parameter/livedub/prod/media/{name}": {"ssm:GetParameters"}
            for name in (
                "MEDIA_TLS_FULLCHAIN_B64",
                "MEDIA_DATA_DIR",
                "MEDIA_TLS_CERT_HOST_PATH",
                "MEDIA_TLS_SAN_DNS",
            )
        },
        **{name: {"secretsmanager:GetSecretValue"} for name in {*SECRETS_READ, "<MaterialSecret>"}},
        "<HostCommands>": {"logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"},
        "<HostLogsGroup>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        f"{ASSETS}.zip": {"s3:GetObject"},
        f"{ASSETS}.sh": {"s3:GetObject"},
    }


def test_the_clean_up_may_read_its_settings_and_nothing_else(prod: Synthesized):
    assert rights(prod, "MediaCacheCleanupRole") == {
        **{name: {"ssm:GetParameters"} for name in BUNDLES},
        **{name: {"secretsmanager:GetSecretValue"} for name in SECRETS_READ},
        "<MediaCacheCleanupLogs>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "*": {
            "xray:PutTraceSegments",
            "xray:PutTelemetryRecords",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
        },
    }


def test_no_role_has_a_policy_of_amazons(prod: Synthesized):
    assert not [
        role for role in of_type(prod.cache, "AWS::IAM::Role").values() if role.get("ManagedPolicyArns")
    ]


def test_the_clean_up_runs_hourly_inside_and_knows_names_of_secrets_only(prod: Synthesized):
    from livedub.media_cache.cleanup_settings import MediaCleanupSettings  # noqa: PLC0415
    from livedub.settings import variables  # noqa: PLC0415

    [function] = [
        each
        for name, each in of_type(prod.cache, "AWS::Lambda::Function").items()
        if name.startswith("MediaCacheCleanup")
    ]
    assert len(function["VpcConfig"]["SubnetIds"]) == 2
    assert "Cleanup" in json.dumps(function["VpcConfig"]["SecurityGroupIds"])
    environment = {
        name: value
        for name, value in function["Environment"]["Variables"].items()
        if "POWERTOOLS" not in name
    }
    assert environment.pop("TTS_MEDIA_CACHE_BASE_URL") == "https://10.0.1.30:8443"
    assert set(environment) <= {variable.name for variable in variables(MediaCleanupSettings)}
    assert environment["MEDIA_CLEANUP_BUNDLE_PREFIX"] == "/livedub/prod"
    part, database = prod.whole.origin("media-cache", environment["MEDIA_CLEANUP_DATABASE_SECRET"])
    assert (part, set(database)) == ("state", {"Ref"})
    part, token = prod.whole.origin("media-cache", environment["MEDIA_CLEANUP_TOKEN_SECRET"])
    assert (part, token) == ("state", {"Ref": prod.whole.part("state").named("Voice/Secret")[0]})
    [rule] = [
        each for name, each in of_type(prod.cache, "AWS::Events::Rule").items() if name.startswith("Hourly")
    ]
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    settings = MediaCleanupSettings()
    assert settings.budget_s < function["Timeout"], "it stops by itself, and says what is left"


# --- the app


def test_what_is_not_built_is_said(tmp_path: Path):
    archives = _host_sources(Sources.of_checkout(tmp_path)).archives()
    with pytest.raises(MissingPrerequisiteError, match=r"bin/caddy.*make build"):
        archives["PACKAGES"].checked()


def test_without_an_image_nothing_is_synthesized(tmp_path: Path, sources: Sources):
    with pytest.raises(ConfigurationError, match=r"media_cache\.image is not set"):
        synthesize_into(tmp_path, given("dev", media_cache_image=""), sources)
