"""Lambda: functions run for real, in AWS's runtime emulator instead of Docker."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.core.exceptions import JsonRESTError
from moto.logs.models import logs_backends

from local.aws.function_pool import FunctionBusyError
from local.aws.function_spec import FunctionSpec
from local.aws.http_event import ACCOUNT_ID
from local.aws.overlay.patching import Patch, created
from local.aws.runtime import Runtime

_LOG = logging.getLogger(__name__)
_TAIL_BYTES = 4096
_LOG_STREAM = "local/[$LATEST]"
_logs_lock = threading.Lock()


class _TooManyRequestsError(JsonRESTError):
    code = 429

    def __init__(self, message: str) -> None:
        super().__init__("TooManyRequestsException", message)


def patches(runtime: Runtime) -> list[Patch]:
    """The patches of Lambda."""
    return [
        Patch(
            "moto.awslambda.models:LambdaFunction.invoke",
            "dadc324f30ae",
            "moto runs functions in Docker, waits for asynchronous calls too, and reports every error as handled",
            lambda _original: _invoke(runtime),
        ),
        Patch(
            "moto.awslambda.models:LambdaFunction.create_from_cloudformation_json",
            "65dfaf5c180c",
            "moto drops Layers, Tags and Architectures of a function made by CloudFormation",
            _create_with_layers,
        ),
        Patch(
            "moto.awslambda.models:LayerVersion.create_from_cloudformation_json",
            "c94eca749b13",
            "Ref of a layer must give its ARN, moto gives the object",
            _layer_with_reference,
        ),
    ]


def spec_of(function: LambdaFunction, runtime: Runtime) -> FunctionSpec:
    """The function as it is configured now, its code and layers unpacked."""
    layers = lambda_backends[function.account_id][function.region]
    folders = []
    for layer in function.layers:
        version = layers.layers_versions_by_arn(layer["Arn"])
        if version is not None:
            folders.append(runtime.code.folder(version.code_bytes, key=version.code_sha_256))
    return FunctionSpec(
        name=function.function_name,
        handler=str(function.handler),
        code_folder=runtime.code.folder(function.code_bytes, key=function.code_sha_256),
        layer_folders=tuple(folders),
        environment={name: str(value) for name, value in function.environment_vars.items()},
        timeout_s=int(function.timeout),
        memory_mb=int(function.memory_size),
        region=function.region,
        endpoint_url=runtime.endpoint,
    )


def find_function(name_or_arn: str, region: str) -> LambdaFunction:
    """The function by name or ARN; moto's own error when there is none."""
    parts = name_or_arn.split(":")
    account, region = (parts[4], parts[3]) if name_or_arn.startswith("arn:") else (ACCOUNT_ID, region)
    return lambda_backends[account][region].get_function(name_or_arn)


def keep_log(spec: FunctionSpec, text: str) -> None:
    """Put what a function wrote into CloudWatch Logs and into our own log."""
    for line in text.splitlines():
        _LOG.info("%s: %s", spec.name, line)
    backend = logs_backends[ACCOUNT_ID][spec.region]
    group = f"/aws/lambda/{spec.name}"
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms, "message": line} for line in text.splitlines()]
    with _logs_lock:
        backend.ensure_log_group(group)
        backend.ensure_log_stream(group, _LOG_STREAM)
        backend.put_log_events(group, _LOG_STREAM, events)


def _invoke(runtime: Runtime) -> Callable[..., bytes]:
    def invoke(
        self: LambdaFunction, body: str | bytes, request_headers: Any, response_headers: dict[str, Any]
    ) -> bytes:
        kind = request_headers.get("x-amz-invocation-type") or request_headers.get(
            "X-Amz-Invocation-Type", "RequestResponse"
        )
        payload = (body.encode() if isinstance(body, str) else body) or b"{}"
        try:
            json.loads(payload)
        except ValueError as error:
            raise JsonRESTError(
                "InvalidRequestContentException", f"The payload is not JSON: {error}"
            ) from error
        if kind == "DryRun":
            return b""
        spec = spec_of(self, runtime)
        if kind == "Event":
            runtime.functions.call_later(spec, payload)
            return b""
        try:
            result = runtime.functions.call(spec, payload)
        except FunctionBusyError as error:
            raise _TooManyRequestsError(str(error)) from error
        if result.failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        tail = result.log.encode()[-_TAIL_BYTES:]
        response_headers["x-amz-log-result"] = base64.b64encode(
            tail
        ).decode()  # moto drops it unless asked for
        return result.payload

    return invoke


def _layer_with_reference(original: Any) -> Any:
    def amend(layer: Any, _properties: dict[str, Any]) -> None:
        layer.physical_resource_id = layer.arn

    return created(original, amend=amend)


def _create_with_layers(original: Any) -> Any:
    def amend(function: Any, properties: dict[str, Any]) -> None:
        function.update_configuration({name: properties[name] for name in ("Layers",) if name in properties})
        function.architectures = properties.get("Architectures", ["x86_64"])
        function.tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", ())}

    return created(original, amend=amend)
