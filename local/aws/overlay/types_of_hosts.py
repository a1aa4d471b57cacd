"""State Manager: what hosts shall be kept to is remembered, for whoever plays the host; nothing of it runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from local.aws.host_commands import Association
from local.aws.overlay.resource import Made, ResourceType, Wanted


def _association(wanted: Wanted) -> Made:
    properties = wanted.properties
    for target in properties.get("Targets", ()):
        if target["Key"] == "InstanceIds":
            for instance_id in target["Values"]:
                wanted.runtime.hosts.associate(
                    Association(instance_id, properties["Name"], properties.get("Parameters", {}))
                )
    return Made(wanted.name, lambda: None, {"AssociationId": wanted.name})


TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {"AWS::SSM::Association": ResourceType(_association, ("AssociationId",))}
)
