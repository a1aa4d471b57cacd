"""CloudFormation resource types that moto lacks, made by moto's own services so that everything else sees them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from moto.core.common_models import CloudFormationModel

from local.aws.overlay import (
    types_by_call,
    types_of_apis,
    types_of_databases,
    types_of_hosts,
    types_of_secrets,
)
from local.aws.overlay.resource import Made, ResourceType, Wanted
from local.aws.overlay.skipped_types import SKIPPED
from local.aws.runtime import Runtime


def _skipped(wanted: Wanted) -> Made:
    return Made(wanted.name, lambda: None)


TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {
        **{name: ResourceType(_skipped) for name in SKIPPED},
        **types_of_apis.TYPES,
        **types_of_secrets.TYPES,
        **types_of_databases.TYPES,
        **types_of_hosts.TYPES,
        **types_by_call.TYPES,
    }
)
"""How each type is made."""

_defined: list[type] = []
"""Keeps the classes alive: moto finds types among the living subclasses of its model."""


def define(runtime: Runtime) -> None:
    """Make the types known to moto's CloudFormation; once per process, before its first template."""
    _defined.extend(_model(type_name, runtime) for type_name in TYPES)


def _model(type_name: str, runtime: Runtime) -> type:
    made_how = TYPES[type_name]

    class Model(CloudFormationModel):
        # moto reads a service's name out of the module of each of its models.
        __module__ = "moto.cloudformation.local"

        def __init__(self, made: Made) -> None:
            self.physical_resource_id = made.physical_id
            self._made = made

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return type_name

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return attr in made_how.attributes

        def get_cfn_attribute(self, attribute_name: str) -> str:
            return self._made.attributes[attribute_name]

        def is_created(self) -> bool:
            return True

        def delete(self, _account_id: str, _region_name: str) -> None:
            self._made.remove()

        @classmethod
        def create_from_cloudformation_json(
            cls,
            resource_name: str,
            cloudformation_json: dict[str, Any],
            account_id: str,
            region_name: str,
            **_: Any,
        ) -> Any:
            properties = cloudformation_json["Properties"]
            return cls(made_how.make(Wanted(resource_name, properties, account_id, region_name, runtime)))

        @classmethod
        def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Any:
            return original_resource  # docs/local-aws.md: a stack is deployed once, to a fresh server

    Model.__name__ = type_name.replace("::", "")
    return Model
