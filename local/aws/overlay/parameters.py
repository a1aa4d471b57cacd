"""Parameter Store: every change is an event, as on AWS."""

from __future__ import annotations

from typing import Any

from local.aws.overlay.event_rules import put_event
from local.aws.overlay.patching import Patch
from local.aws.runtime import Runtime

_BACKEND = "moto.ssm.models:SimpleSystemManagerBackend"
_REASON = "moto tells nobody when a parameter changes"


def patches(runtime: Runtime) -> list[Patch]:
    """The patches of Parameter Store."""
    return [
        Patch(
            f"{_BACKEND}.put_parameter",
            "b5187c4ae98f",
            _REASON,
            lambda original: _put(original, runtime),
        ),
        Patch(
            f"{_BACKEND}.delete_parameter",
            "6355da5f7c88",
            _REASON,
            lambda original: _delete(original, runtime),
        ),
        Patch(
            f"{_BACKEND}.delete_parameters",
            "af1f990c3660",
            _REASON,
            lambda original: _delete_many(original, runtime),
        ),
    ]


def _put(original: Any, runtime: Runtime) -> Any:
    def put_parameter(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        parameter = original(self, name, *args, **kwargs)
        operation = "Create" if parameter.version == 1 else "Update"
        _announce(runtime, self, operation, name, parameter.parameter_type)
        return parameter

    return put_parameter


def _delete(original: Any, runtime: Runtime) -> Any:
    def delete_parameter(self: Any, name: str) -> None:
        kind = _type_of(self, name)
        original(self, name)
        _announce(runtime, self, "Delete", name, kind)

    return delete_parameter


def _delete_many(original: Any, runtime: Runtime) -> Any:
    def delete_parameters(self: Any, names: list[str]) -> list[str]:
        kinds = {name: _type_of(self, name) for name in names}
        deleted = original(self, names)
        for name in deleted:
            _announce(runtime, self, "Delete", name, kinds[name])
        return deleted

    return delete_parameters


def _type_of(backend: Any, name: str) -> str:
    parameter = backend.get_parameter(name)
    return parameter.parameter_type if parameter is not None else ""


def _announce(runtime: Runtime, backend: Any, operation: str, name: str, kind: str) -> None:
    account_id, region = backend.account_id, backend.region_name
    runtime.background.soon(
        lambda: put_event(
            account_id,
            region,
            source="aws.ssm",
            kind="Parameter Store Change",
            resource=f"arn:aws:ssm:{region}:{account_id}:parameter/{name.lstrip('/')}",
            detail={"operation": operation, "name": name, "type": kind},
        )
    )
