"""RDS: moto keeps the record, and the database is real (local.aws.databases)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from moto.rds.models import rds_backends

from local.aws.databases import DatabaseSpec
from local.aws.overlay.resource import Made, ResourceType, Wanted


def _instance(wanted: Wanted) -> Made:
    properties = wanted.properties
    # RDS takes 63 characters; what was drawn by lot stands at the end.
    identifier = (
        str(properties.get("DBInstanceIdentifier") or wanted.name).lower()[-63:].lstrip("-0123456789")
    )
    backend = rds_backends[wanted.account_id][wanted.region]
    spec = DatabaseSpec(
        identifier=identifier,
        database=properties["DBName"],
        username=properties["MasterUsername"],
        password=properties["MasterUserPassword"],
    )
    backend.create_db_instance(
        {
            "db_instance_identifier": identifier,
            "db_instance_class": properties["DBInstanceClass"],
            "db_name": spec.database,
            "engine": properties["Engine"],
            "engine_version": properties.get("EngineVersion"),
            "allocated_storage": int(properties.get("AllocatedStorage", 20)),
            "master_username": spec.username,
            "master_user_password": spec.password,
            "storage_encrypted": properties.get("StorageEncrypted", False),
            "vpc_security_group_ids": properties.get("VPCSecurityGroups", []),
        }
    )
    host, port = wanted.runtime.databases.make(spec)

    def remove() -> None:
        wanted.runtime.databases.remove(identifier)
        backend.delete_db_instance(identifier)

    return Made(
        identifier,
        remove,
        {
            "Endpoint.Address": host,
            "Endpoint.Port": str(port),
            "DBInstanceArn": f"arn:aws:rds:{wanted.region}:{wanted.account_id}:db:{identifier}",
        },
    )


TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {
        "AWS::RDS::DBInstance": ResourceType(
            _instance, ("Endpoint.Address", "Endpoint.Port", "DBInstanceArn")
        ),
    }
)
