"""`python -m local.aws.invoke FUNCTION --event FILE`: one call of a function as it is deployed.

Code, layers, handler and timeout come from the synthesized template, variables from the deployed function; it runs in
the emulator that `sam local invoke` would start in Docker. `livedub invoke` is the same.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from livedub.errors import InvalidInputError, LivedubError
from livedub.supervision.signing import sign
from local.aws import deployment
from local.aws.child import forget_profiles, start_local_aws
from local.aws.code_store import CodeStore
from local.aws.function_spec import FunctionSpec, InvokeResult
from local.aws.lambda_environment import LambdaEnvironment
from local.aws.settings import LocalAwsSettings
from local.aws.spawner import Spawner
from local.processes import Supervisor

EXIT_ANSWERED = 0
EXIT_RAISED = 1
EXIT_FAILED = 2

_MAX_EVENT_BYTES = 6 * 1024 * 1024
"""Lambda takes no more."""


def read_event(path: Path) -> dict[str, Any]:
    """The event in a file.

    Raises:
        InvalidInputError: the file cannot be read, is too large or is no JSON object.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"event {path} cannot be read: {error.strerror}.", remedy="Events lie in tests/events."
        ) from error
    if len(data) > _MAX_EVENT_BYTES:
        raise InvalidInputError(f"event {path} has {len(data)} bytes; Lambda takes {_MAX_EVENT_BYTES}.")
    try:
        event = json.loads(data)
    except ValueError as error:
        raise InvalidInputError(f"event {path} is no JSON: {error}.") from error
    if not isinstance(event, dict):
        raise InvalidInputError(f"event {path} is a JSON {type(event).__name__}; a function takes an object.")
    return event


def function_spec(
    assembly: Path, function: str, *, environment: Mapping[str, str], endpoint: str, code: CodeStore
) -> FunctionSpec:
    """The function as `assembly` describes it; its code and layers are unpacked from what would be uploaded.

    Raises:
        InvalidInputError: the template has no function of that name.
    """
    template = deployment.stack_template(assembly)
    resource = template["Resources"][logical_id(template, function)]
    properties = resource["Properties"]
    layers = [template["Resources"][layer["Ref"]] for layer in properties.get("Layers", [])]
    folders = [
        code.folder(deployment.asset_archive(assembly, str(each["Metadata"]["aws:asset:path"])).read_bytes())
        for each in (resource, *layers)
    ]
    return FunctionSpec(
        name=function,
        handler=properties["Handler"],
        code_folder=folders[0],
        layer_folders=tuple(folders[1:]),
        environment=environment,
        timeout_s=properties.get("Timeout", 3),
        memory_mb=properties.get("MemorySize", 128),
        region=deployment.REGION,
        endpoint_url=endpoint,
    )


def logical_id(template: Mapping[str, Any], function: str) -> str:
    """The logical id of the function whose construct is called `function`.

    Raises:
        InvalidInputError: there is none; names those there are.
    """
    known = {
        resource["Metadata"]["aws:cdk:path"].split("/")[-2]: name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    if function not in known:
        raise InvalidInputError(
            f"function {function!r} is not in the template.",
            remedy=f"Take one of {', '.join(sorted(known))}.",
        )
    return known[function]


def with_credentials(event: Mapping[str, Any], *, relay_key: str, api_token: str) -> dict[str, Any]:
    """An HTTP event as its real caller would send it now: signed by the relay, or with the API's token.

    Raises:
        InvalidInputError: the event is no HTTP request.
    """
    try:
        path = str(event["rawPath"])
        method = str(event["requestContext"]["http"]["method"])
        body = str(event.get("body") or "")
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            "the event is no HTTP request, so there is nothing to sign.", remedy="Leave --sign out."
        ) from error
    if path.startswith("/v1/streams"):
        added = {"authorization": f"Bearer {api_token}"}
    else:
        raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        key = bytes.fromhex(relay_key.split(maxsplit=1)[0])
        now_ms = time.time_ns() // 1_000_000
        added = sign(key, raw, method=method, path=path, timestamp_ms=now_ms, nonce=secrets.token_urlsafe(18))
    kept = {str(name).lower(): value for name, value in (event.get("headers") or {}).items()}
    return {**event, "headers": kept | {name.lower(): value for name, value in added.items()}}


async def invoke(function: str, event_path: Path, *, on: str, signed: bool) -> InvokeResult:
    """Call `function` once, on the local AWS at `on` or on a fresh one that ends with the call.

    Raises:
        LivedubError: the function or the event cannot be used, or the local AWS not be started.
    """
    event = read_event(event_path)
    assembly = await asyncio.to_thread(deployment.ensure_assembly)
    logical = logical_id(
        deployment.stack_template(assembly), function
    )  # a wrong name shows before anything starts
    with tempfile.TemporaryDirectory(prefix="livedub-invoke-") as scratch:
        async with Supervisor(Path(scratch) / "logs") as supervisor:
            if on:
                endpoint, deployed = on, await asyncio.to_thread(deployment.find, on)
            else:
                endpoint = await start_local_aws(supervisor)
                deployed = await asyncio.to_thread(deployment.deploy, endpoint, assembly)
            if signed:
                event = with_credentials(
                    event,
                    relay_key=deployment.secret(endpoint, deployed.relay_key_secret),
                    api_token=deployment.secret(endpoint, deployed.api_token_secret),
                )
            spec = function_spec(
                assembly,
                function,
                environment=deployment.function_environment(endpoint, logical),
                endpoint=deployment.localhost_url(endpoint),
                code=CodeStore(Path(scratch) / "code"),
            )
            return await asyncio.to_thread(_call, spec, json.dumps(event).encode())


def _call(spec: FunctionSpec, payload: bytes) -> InvokeResult:
    with Spawner() as spawner:
        environment = LambdaEnvironment(spec, emulator=LocalAwsSettings().require_emulator(), spawner=spawner)
        try:
            return environment.invoke(payload)
        finally:
            environment.kill()


def parser() -> argparse.ArgumentParser:
    """The command line; `livedub invoke --help` says more."""
    top = argparse.ArgumentParser(prog="python -m local.aws.invoke", description=__doc__)
    top.add_argument("function")
    top.add_argument("--event", type=Path, required=True)
    top.add_argument("--on", metavar="URL", default="")
    top.add_argument("--sign", action="store_true")
    return top


async def _until_sigterm(work: Coroutine[Any, Any, InvokeResult]) -> InvokeResult:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def main() -> int:
    """Print the answer on stdout and the function's log on stderr. Exit codes: 0 answered, 1 raised, 2 not run."""
    arguments = parser().parse_args()
    forget_profiles()
    work = invoke(arguments.function, arguments.event, on=arguments.on, signed=arguments.sign)
    try:
        result = asyncio.run(_until_sigterm(work))
    except LivedubError as error:
        print(f"livedub invoke: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_FAILED
    sys.stderr.write(result.log)
    print(result.payload.decode(errors="replace"))  # noqa: T201 - what the command is for
    return EXIT_RAISED if result.failed else EXIT_ANSWERED


if __name__ == "__main__":
    sys.exit(main())
