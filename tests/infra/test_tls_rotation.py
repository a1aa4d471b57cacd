"""rotate_tls as it is deployed: what starts it, what it may do, and that its functions get what they ask for."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from infra.constructs.tls_rotation import DEFINITION, HOST_ACTIONS, STEPS
from infra.tls_rotation_config import TlsRotationConfig
from livedub.errors import ConfigurationError
from livedub.media_cache.tls_rotation.rotation_settings import (
    TlsCheckSettings,
    TlsPublishSettings,
    TlsStartSettings,
    TlsStoresSettings,
)
from livedub.settings import variables
from tests.infra.conftest import Synthesized

SETTINGS = {
    "StartTlsRotation": TlsStartSettings,
    "CheckTls": TlsCheckSettings,
    "PublishTlsBundle": TlsPublishSettings,
    "SettleTlsStores": TlsStoresSettings,
}
CHAIN = "parameter/livedub/prod/media/MEDIA_TLS_FULLCHAIN_B64"
BUNDLES = {f"parameter/livedub/prod/{one}/TTS_MEDIA_CACHE_CA_BUNDLE" for one in ("voice", "api")}
SECRET = "<MaterialSecret>"  # noqa: S105 - its name in the template
INTERFACES = {"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"}
XRAY = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


@pytest.fixture
def template(prod: Synthesized) -> dict[str, Any]:
    return json.loads((prod.folder / "livedub-prod-media-cache.template.json").read_text())


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == kind}


def one(template: dict[str, Any], kind: str, begins: str) -> Any:
    [found] = [each for name, each in of_type(template, kind).items() if name.startswith(begins)]
    return found


def joined(value: Any) -> str:
    """A string of a template, with references as <Name>."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return value["Fn::Join"][0].join(map(joined, value["Fn::Join"][1]))
    name = value["Fn::GetAtt"][0] if "Fn::GetAtt" in value else value["Ref"]
    return f"<{re.sub(r'[0-9A-F]{8}$', '', name)}>"


def rights(template: dict[str, Any], role: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for statement in one(template, "AWS::IAM::Policy", role)["PolicyDocument"]["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = (
            each if isinstance(each, list) else [each]
            for each in (statement["Action"], statement["Resource"])
        )
        for resource in resources:
            found.setdefault(joined(resource).rsplit(":", 1)[-1], set()).update(actions)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_every_function_gets_what_it_cannot_do_without_and_nothing_it_does_not_know(
    template: dict[str, Any], step: str
):
    given = one(template, "AWS::Lambda::Function", step)["Environment"]["Variables"]
    ours = {name for name in given if not name.startswith("POWERTOOLS_")}
    known = list(zip(SETTINGS[step].model_fields.values(), variables(SETTINGS[step]), strict=True))
    required = {variable.name for field, variable in known if field.is_required()}
    assert required <= ours <= {variable.name for _, variable in known}


def test_the_waits_are_those_of_the_configuration_and_the_functions_agree_with_it(template: dict[str, Any]):
    config = TlsRotationConfig()
    given = {
        name: value
        for step in STEPS
        for name, value in one(template, "AWS::Lambda::Function", step)["Environment"]["Variables"].items()
    }
    for field in fields(config):
        assert given[f"MEDIA_TLS_ROTATION_{field.name.upper()}"] == str(getattr(config, field.name))
        settings = TlsPublishSettings if field.name == "settle_s" else TlsCheckSettings
        assert settings.model_fields[field.name].default == getattr(config, field.name)


def test_only_the_function_that_speaks_to_the_host_is_inside(template: dict[str, Any]):
    inside = {
        name: each["VpcConfig"]
        for name, each in of_type(template, "AWS::Lambda::Function").items()
        if "VpcConfig" in each and not name.startswith("MediaCacheCleanup")
    }
    [(name, place)] = inside.items()
    assert name.startswith("CheckTls")
    assert "Rotation" in json.dumps(place["SecurityGroupIds"])
    assert len(place["SubnetIds"]) == 2


def test_each_step_may_do_its_part_and_no_more(template: dict[str, Any]):
    read = {name: {"ssm:GetParameters"} for name in {CHAIN, *BUNDLES}}
    logs = {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert rights(template, "StartTlsRotationRole") == {
        "<StartTlsRotationLogs>": logs,
        CHAIN: {"ssm:GetParameters"},
        SECRET: {"secretsmanager:DescribeSecret"},
        "livedub-prod-rotate-tls": {"states:StartExecution"},
        "*": XRAY,
    }
    assert rights(template, "CheckTlsRole") == {
        "<CheckTlsLogs>": logs,
        **read,
        SECRET: {"secretsmanager:GetSecretValue"},
        "*": XRAY | INTERFACES,
    }
    assert rights(template, "PublishTlsBundleRole") == {
        "<PublishTlsBundleLogs>": logs,
        **read,
        **{name: {"ssm:GetParameters", "ssm:PutParameter"} for name in BUNDLES},
        SECRET: {"secretsmanager:DescribeSecret"},
        "*": XRAY,
    }
    assert rights(template, "SettleTlsStoresRole") == {
        "<SettleTlsStoresLogs>": logs,
        CHAIN: {
            "ssm:DeleteParameter",
            "ssm:GetParameters",
            "ssm:LabelParameterVersion",
            "ssm:PutParameter",
        },
        SECRET: {
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        },
        "*": XRAY,
    }


def test_the_machine_may_send_one_document_to_one_host(template: dict[str, Any]):
    found = rights(template, "RotationRole")
    sends = {name for name, actions in found.items() if "ssm:SendCommand" in actions}
    assert sends == {"document/livedub-prod-host-action", "instance/<HostInstance>"}
    assert {name for name, actions in found.items() if "lambda:InvokeFunction" in actions} == {
        f"<{step}>" for step in STEPS
    }
    everything = found["*"]
    assert "ssm:GetCommandInvocation" in everything
    assert {action.split(":")[0] for action in everything} == {"ssm", "xray", "logs"}


def test_the_document_does_these_things_and_takes_no_text(template: dict[str, Any]):
    [document] = of_type(template, "AWS::SSM::Document").values()
    assert document["Name"] == "livedub-prod-host-action"
    content = document["Content"]
    assert content["parameters"]["action"]["allowedValues"] == sorted(HOST_ACTIONS)
    assert set(content["parameters"]) == {"action"}
    [step] = content["mainSteps"]
    lines = step["inputs"]["runCommand"]
    assert [line for line in lines if "{{" in line] == ["case '{{ action }}' in"]
    for action, command in HOST_ACTIONS.items():
        assert f"  {action}) {command} ;;" in lines


def test_the_definition_sends_those_actions_and_its_placeholders_are_filled(template: dict[str, Any]):
    text = DEFINITION.read_text()
    sent = re.findall(r'"action": \["([a-z-]+)"\]', text)
    assert set(sent) == set(HOST_ACTIONS)
    machine = one(template, "AWS::StepFunctions::StateMachine", "RotationMachine")
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(machine["DefinitionSubstitutions"])
    assert machine["StateMachineName"] == "livedub-prod-rotate-tls"
    assert machine["LoggingConfiguration"]["Level"] == "ALL"


def test_both_stores_and_every_hour_start_it(template: dict[str, Any]):
    rules = {
        name.removeprefix("Rotation"): each
        for name, each in of_type(template, "AWS::Events::Rule").items()
        if name.startswith("Rotation")
    }
    assert len(rules) == 3
    for rule in rules.values():
        [target] = rule["Targets"]
        assert joined(target["Arn"]) == "<StartTlsRotation>"
    hourly, certificate, key = (
        next(each for name, each in rules.items() if name.startswith(begins))
        for begins in ("Hourly", "CertificateChanged", "KeyChanged")
    )
    assert hourly["ScheduleExpression"] == "rate(1 hour)"
    assert certificate["EventPattern"]["detail"] == {"name": ["/livedub/prod/media/MEDIA_TLS_FULLCHAIN_B64"]}
    by_name, by_arn = key["EventPattern"]["detail"]["requestParameters"]["secretId"]
    assert by_name == "livedub/prod/media/secrets"
    assert joined(by_arn["prefix"]).endswith(":secret:livedub/prod/media/secrets")
    assert "PutSecretValue" in key["EventPattern"]["detail"]["eventName"]


@pytest.mark.parametrize(
    "wrong", [{"poll_s": 0}, {"settle_s": -1}, {"pair_wait_s": 86_401}, {"poll_s": 1, "pair_wait_s": 1_001}]
)
def test_waits_that_the_functions_would_refuse_are_refused(wrong: dict[str, int]):
    with pytest.raises(ConfigurationError, match=r"media_cache\.rotation.*infra/config\.py"):
        TlsRotationConfig(**wrong)
