"""The Postgres with the catalogues of media cache and media library."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import CfnResource, Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

DATABASE = "livedub"


class CatalogueDatabase(Construct):
    """A small instance; `secret` is what RDS writes: a JSON object with host, port, dbname, username, password."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc,
        group: ec2.ISecurityGroup,
        instance_class: str,
        survive: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        self.instance = rds.DatabaseInstance(
            self,
            "Instance",
            # No minor version: RDS takes none for a new instance a year after it came, and raises it by itself.
            engine=rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_16),
            instance_type=ec2.InstanceType(instance_class),
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            security_groups=[group],
            publicly_accessible=False,
            database_name=DATABASE,
            credentials=rds.Credentials.from_generated_secret("livedub"),
            storage_encrypted=True,
            storage_type=rds.StorageType.GP3,
            allocated_storage=20,
            backup_retention=Duration.days(7),
            delete_automated_backups=not survive,
            deletion_protection=survive,
            auto_minor_version_upgrade=True,
            removal_policy=RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY,
        )
        generated = self.instance.node.find_child("Secret").node.default_child
        assert isinstance(generated, CfnResource)  # noqa: S101 - for the type
        # An instance that is kept is of no use without its password.
        generated.apply_removal_policy(RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY)
        secret = self.instance.secret
        assert secret is not None, "credentials are generated"  # noqa: S101 - for the type
        self.secret = secret
        acknowledge(
            self,
            "RDS3",
            "One availability zone: without the catalogue uploads are refused and clean-ups wait; reads go on.",
        )
        acknowledge(self, "RDS11", "Its subnets have no way in: another port would hide it from nobody.")
        acknowledge(
            self,
            "SMG4",
            "The host reads it when it is installed: docs/deploy.md, Media cache, has the steps to change it.",
        )
        if not survive:
            acknowledge(self, "RDS10", "An environment to try things in goes as a whole.")
