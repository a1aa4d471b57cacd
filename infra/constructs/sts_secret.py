"""The secret that worker hosts reach a speech-to-speech service with."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, SecretValue
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.constructs.acknowledged import acknowledge


class StsSecret(Construct):
    """`{"STS_API_KEY": ""}` until whoever deploys puts a key in: the service gives it, so none can be generated."""

    def __init__(self, scope: Construct, construct_id: str, *, environment: str, survive: bool) -> None:
        super().__init__(scope, construct_id)
        self.secret = secretsmanager.Secret(
            self,
            "Secret",
            secret_name=f"livedub/{environment}/sts/secrets",
            description="Of worker hosts: STS_API_KEY, the key of the speech-to-speech service.",
            # The empty value is no secret. A later deployment leaves what was put in: the property does not change.
            secret_object_value={"STS_API_KEY": SecretValue.unsafe_plain_text("")},
            # Where the deployment that makes it fails it goes: its name would be in the way of the next.
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if survive else RemovalPolicy.DESTROY,
        )
        acknowledge(self.secret, "SMG4", "RunPod, not this account, makes its keys.")
