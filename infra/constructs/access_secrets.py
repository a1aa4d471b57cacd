"""Secrets that callers of the API prove themselves with; generated in the account, never in a template."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

_NOT_HEX = "ghijklmnopqrstuvwxyz"


class AccessSecrets(Construct):
    """`relay_key` signs what relays send (256 bits as hex); `api_token` is the bearer token of the stream API."""

    def __init__(self, scope: Construct, construct_id: str, *, token_length: int, survive: bool) -> None:
        super().__init__(scope, construct_id)
        removal = RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY
        self.relay_key = secretsmanager.Secret(
            self,
            "RelayKey",
            description="Keys that sign hooks: hex, one a line; the first signs, all are accepted.",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=64,
                exclude_characters=_NOT_HEX,
                exclude_uppercase=True,
                exclude_punctuation=True,
                include_space=False,
                require_each_included_type=False,
            ),
            removal_policy=removal,
        )
        self.api_token = secretsmanager.Secret(
            self,
            "ApiToken",
            description="Bearer token of the stream API.",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=token_length, exclude_punctuation=True, include_space=False
            ),
            removal_policy=removal,
        )
        for secret in (self.relay_key, self.api_token):
            acknowledge(
                secret,
                "SMG4",
                "Relays and operators outside the account must get a new value first: docs/deploy.md, Rotate.",
            )
