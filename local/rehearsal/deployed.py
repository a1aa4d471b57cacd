"""What was deployed: outputs by stack, stores, and what each host is told to be."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livedub.database.database_secret import database_url
from livedub.supervision.secret_store import SecretStore
from local.aws import deployment
from local.aws.assembly import ENVIRONMENT
from local.aws.deployment import DeploymentError
from local.loopback_client import http_request

_EXPORT = re.compile(r"^export ([A-Z_][A-Z0-9_]*=.*)$", re.MULTILINE)
_SETTING = re.compile(r'^([A-Z_][A-Z0-9_]*)="(.*)"$', re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)")
_CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DeployedEnvironment:
    """The environment `local` on a local AWS."""

    endpoint: str
    outputs: Mapping[str, Mapping[str, str]]

    @property
    def name(self) -> str:
        """Of the environment, as it is part of parameters' names."""
        return ENVIRONMENT

    def output(self, part: str, name: str) -> str:
        """An output of a stack.

        Raises:
            DeploymentError: there is none of that name.
        """
        found = self.outputs.get(f"livedub-{self.name}-{part}", {}).get(name)
        if found is None:
            raise DeploymentError(f"the stack {part} has no output {name}.")
        return found

    def put_parameter(self, name: str, value: str) -> None:
        """What `aws ssm put-parameter --overwrite` does."""
        self._client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def parameter(self, name: str) -> str:
        """The value of a parameter; empty where there is none."""
        found = self._client("ssm").get_parameters(Names=[name])["Parameters"]
        return str(found[0]["Value"]) if found else ""

    def put_in_secret(self, name: str, **values: str) -> None:
        """Change members of a secret that is a JSON object."""
        held = {**self.secret(name), **values}
        self._client("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps(held))

    def secret(self, name: str) -> dict[str, str]:
        """A secret that is a JSON object."""
        return json.loads(deployment.secret(self.endpoint, name))

    def catalogue_url(self) -> str:
        """DATABASE_URL of the Postgres that RDS made."""
        held = SecretStore(self._client("secretsmanager"))
        return database_url(held, self.output("state", "CatalogueSecret"))

    def call_function(self, part: str, logical_id: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Call a deployed function and wait for its answer; `logical_id` is where its own begins.

        Raises:
            DeploymentError: there is no such function, or it failed.
        """
        name = self._function_name(part, logical_id)
        answer = self._client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        said = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise DeploymentError(f"the function {logical_id} failed: {said[:400]}")
        return json.loads(said)

    def executions(self, machine_arn: str) -> dict[str, str]:
        """The status of each execution of a state machine, by name."""
        listed = self._client("stepfunctions").list_executions(stateMachineArn=machine_arn)
        return {each["name"]: each["status"] for each in listed["executions"]}

    def function_log(self, part: str, logical_id: str) -> list[str]:
        """What a deployed function wrote so far; nothing where it was never called.

        Raises:
            DeploymentError: there is no such function.
        """
        logs = self._client("logs")
        group = f"/aws/lambda/{self._function_name(part, logical_id)}"
        try:
            events = logs.filter_log_events(logGroupName=group)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [str(event["message"]) for event in events]

    def objects(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """The objects whose key begins with `prefix`, by their keys; for a few small ones."""
        s3 = self._client("s3")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}

    def _function_name(self, part: str, logical_id: str) -> str:
        stack = f"livedub-{self.name}-{part}"
        found = self._client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        for each in found:
            ours = each["LogicalResourceId"].startswith(logical_id)
            if ours and each["ResourceType"] == "AWS::Lambda::Function":
                return str(each["PhysicalResourceId"])
        raise DeploymentError(f"the stack {part} has no function {logical_id}.")

    async def installation_of(self, instance_id: str) -> dict[str, str]:
        """The variables that State Manager's association gives the installation on a host.

        Raises:
            DeploymentError: nothing is to be installed there.
        """
        url = f"{self.endpoint}/_local/hosts/{instance_id}/associations"
        kept: list[Any] = json.loads(await http_request("GET", url, timeout_s=_CALL_TIMEOUT_S))[
            "associations"
        ]
        if not kept:
            raise DeploymentError(f"nothing is installed on {instance_id}.")
        return exported("\n".join(kept[-1]["parameters"]["commands"]))

    def _client(self, service: str) -> Any:
        return deployment.client(self.endpoint, service)


def exported(script: str) -> dict[str, str]:
    """The variables that lines of `script` export, as a shell reads them."""
    words = [word for line in _EXPORT.findall(script) for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


async def read_environment(path: Path) -> dict[str, str]:
    """The variables in a file that systemd reads, as livedub writes it: in double quotes, with backslashes."""
    text = await asyncio.to_thread(path.read_text, encoding="utf-8")
    return {name: _ESCAPED.sub(r"\1", value) for name, value in _SETTING.findall(text)}
