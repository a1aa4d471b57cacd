"""Deploys the control plane of a synthesized assembly to a local AWS: assets to S3, templates to CloudFormation.

What `cdk deploy` does after synthesis, without the command, in about a second, and no more than the control plane needs:
its own stack, and of the stack `state` what it imports. A local AWS takes one deployment; start a fresh one for the next.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import Session as BotocoreSession

from livedub.errors import InvalidInputError, LivedubError
from local.aws.assembly import ARCHIVES, ensure_assembly
from local.aws.template_parts import imported_names, only_for

__all__ = [
    "Deployed",
    "DeploymentError",
    "asset_archive",
    "client",
    "deploy",
    "ensure_assembly",
    "find",
    "function_environment",
    "localhost_url",
    "secret",
    "stack_template",
]

REGION = "us-east-1"
STACK = "livedub-local-control-plane"
STATE_STACK = "livedub-local-state"
"""Holds what the control plane works on."""

_OUTPUTS = {
    "hook_api_url": "HookApiUrl",
    "streams_table": "StreamsTable",
    "work_queue_url": "WorkQueueUrl",
    "state_machine_arn": "StateMachineArn",
    "relay_key_secret": "RelayKeySecret",
    "api_token_secret": "ApiTokenSecret",
}
_BOOTSTRAP_VERSION = "30"
_CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 2}, proxies={})
# The last one: a server that broke answers with a page instead of XML.
_FAILURES = (ClientError, BotoCoreError, ResponseParserError)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class DeploymentError(LivedubError):
    """The local AWS refused a deployment or knows of none."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """Outputs of the two stacks; `..._secret` are names in Secrets Manager, not values."""

    hook_api_url: str
    streams_table: str
    work_queue_url: str
    state_machine_arn: str
    relay_key_secret: str
    api_token_secret: str

    @classmethod
    def from_outputs(cls, outputs: Mapping[str, str]) -> Deployed:
        """Read the outputs by their fixed names.

        Raises:
            DeploymentError: one is missing.
        """
        missing = sorted(set(_OUTPUTS.values()) - set(outputs))
        if missing:
            raise DeploymentError(
                f"the stacks {STATE_STACK} and {STACK} lack the outputs {', '.join(missing)}."
            )
        return cls(**{field: outputs[name] for field, name in _OUTPUTS.items()})


def deploy(endpoint: str, assembly: Path, *, environment: Mapping[str, str] | None = None) -> Deployed:
    """Deploy `assembly`; `environment` is laid over the variables of every function.

    Raises:
        InvalidInputError: `assembly` is no assembly.
        DeploymentError: the local AWS cannot be reached, or refused; says what and why.
    """
    template = stack_template(assembly)
    state = only_for(
        stack_template(assembly, STATE_STACK),
        exports=imported_names(template),
        outputs=frozenset(_OUTPUTS.values()),
    )
    for resource in template["Resources"].values():
        if environment and resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"].setdefault("Environment", {}).setdefault("Variables", {}).update(
                environment
            )
    try:
        _publish(endpoint, assembly, _assets(assembly))
        _create(endpoint, STATE_STACK, state)
        _create(endpoint, STACK, template)
        return Deployed.from_outputs(_outputs(client(endpoint, "cloudformation")))
    except _FAILURES as error:
        raise DeploymentError(
            f"deploying to {endpoint} failed: {error}.",
            remedy="Is a fresh local AWS running there? It takes one deployment.",
        ) from error


def find(endpoint: str) -> Deployed:
    """What was deployed before.

    Raises:
        DeploymentError: nothing answers at `endpoint`, or nothing is deployed there.
    """
    try:
        return Deployed.from_outputs(_outputs(client(endpoint, "cloudformation")))
    except _FAILURES as error:
        raise DeploymentError(
            f"no control plane was found at {endpoint}: {error}.", remedy="Run make deploy-local first."
        ) from error


def secret(endpoint: str, name: str) -> str:
    """The value of a secret.

    Raises:
        DeploymentError: there is none of that name.
    """
    try:
        return str(client(endpoint, "secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    except _FAILURES as error:
        raise DeploymentError(f"the secret {name} cannot be read at {endpoint}: {error}.") from error


def stack_template(assembly: Path, stack: str = STACK) -> dict[str, Any]:
    """A stack's template, the control plane's by default.

    Raises:
        InvalidInputError: `assembly` is no assembly.
    """
    return _read_json(assembly / f"{stack}.template.json")


def function_environment(endpoint: str, logical_id: str) -> dict[str, str]:
    """The variables of a deployed function, with every reference resolved.

    Raises:
        DeploymentError: it is not deployed at `endpoint`.
    """
    try:
        # What moto does not carry out, such as a queue's policy, has no names there, and breaks the narrower call.
        found = client(endpoint, "cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        name = next(
            each["PhysicalResourceId"] for each in found if each.get("LogicalResourceId") == logical_id
        )
        configuration = client(endpoint, "lambda").get_function_configuration(FunctionName=name)
    except (*_FAILURES, StopIteration) as error:
        raise DeploymentError(
            f"the function {logical_id} is not deployed at {endpoint}: {error}.",
            remedy="Start a fresh local AWS; the template has changed.",
        ) from error
    return dict(configuration["Environment"]["Variables"])


def asset_archive(assembly: Path, asset_path: str) -> Path:
    """The zip that is uploaded for the asset that the template knows by `asset_path` (aws:asset:path)."""
    return _archive(assembly / asset_path, assembly.parent / ARCHIVES / f"{Path(asset_path).name}.zip")


def client(endpoint: str, service: str) -> Any:
    """A boto3 client of the local AWS, whatever the user's own AWS configuration says."""
    # Without a profile: one of the user's that is not configured here would be an error.
    alone = BotocoreSession(session_vars={"profile": (None, [], None, None)})
    return Session(botocore_session=alone).client(
        service,
        endpoint_url=localhost_url(endpoint),
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - nobody checks it
        config=_CONFIG,
    )


def localhost_url(endpoint: str) -> str:
    """`endpoint` with the host `localhost`: of an address, moto would take the first part for a bucket's name.

    Raises:
        InvalidInputError: not an http URL of this machine with a port.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or parts.hostname not in {"localhost", "127.0.0.1"} or not parts.port:
        raise InvalidInputError(
            f"endpoint {endpoint!r} is no local AWS.", remedy="Give http://localhost:PORT."
        )
    return f"http://localhost:{parts.port}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{path} is no part of a cloud assembly: {error}.",
            remedy="Take the folder ensure_assembly returns.",
        ) from error


def _assets(assembly: Path) -> dict[str, Any]:
    """The files of both stacks."""
    files = [_read_json(assembly / f"{stack}.assets.json")["files"] for stack in (STATE_STACK, STACK)]
    return {"files": {**files[0], **files[1]}}


def _publish(endpoint: str, assembly: Path, assets: Mapping[str, Any]) -> None:
    s3 = client(endpoint, "s3")
    for bucket in sorted({place["bucketName"] for place in _places(assets)}):
        s3.create_bucket(Bucket=bucket)
    for asset in assets["files"].values():
        source = assembly / asset["source"]["path"]
        zipped = asset["source"]["packaging"] == "zip"
        body = asset_archive(assembly, asset["source"]["path"]) if zipped else source
        for place in asset["destinations"].values():
            with body.open("rb") as data:
                s3.put_object(Bucket=place["bucketName"], Key=place["objectKey"], Body=data)


def _places(assets: Mapping[str, Any]) -> list[dict[str, str]]:
    return [place for asset in assets["files"].values() for place in asset["destinations"].values()]


def _archive(folder: Path, archive: Path) -> Path:
    """`folder` as a zip, kept under the name of its content: the same content gives the same bytes."""
    if archive.is_file():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=archive.parent, prefix=".", delete=False) as fresh:
        try:
            with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    entry = zipfile.ZipInfo(str(path.relative_to(folder)), _ZIP_EPOCH)
                    entry.external_attr = 0o644 << 16
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    packed.writestr(entry, path.read_bytes())
            Path(fresh.name).replace(archive)
        except BaseException:
            os.unlink(fresh.name)  # noqa: PTH108 - a name, no Path
            raise
    return archive


def _create(endpoint: str, stack: str, template: Mapping[str, Any]) -> None:
    parameter = template.get("Parameters", {}).get("BootstrapVersion", {}).get("Default")
    if parameter:
        # `cdk bootstrap` leaves its version there, and the template asks for it.
        client(endpoint, "ssm").put_parameter(
            Name=parameter, Value=_BOOTSTRAP_VERSION, Type="String", Overwrite=True
        )
    client(endpoint, "cloudformation").create_stack(
        StackName=stack, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"]
    )


def _outputs(cloudformation: Any) -> dict[str, str]:
    return {**_outputs_of(cloudformation, STATE_STACK), **_outputs_of(cloudformation, STACK)}


def _outputs_of(cloudformation: Any, name: str) -> dict[str, str]:
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    if stack["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event.get("ResourceStatusReason") and "FAILED" in event.get("ResourceStatus", "")
        ]
        raise DeploymentError(
            f"the stack {name} is {stack['StackStatus']}: {'; '.join(reasons) or 'no reason is given'}."
        )
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
