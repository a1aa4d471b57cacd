"""Secrets of the media library's API; generated in the account, never in a template."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.constructs.acknowledged import acknowledge


class LibrarySecrets(Construct):
    """`api_token` is its bearer token; `callback_secret` signs what the state machine reports to it."""

    def __init__(self, scope: Construct, construct_id: str, *, token_length: int, survive: bool) -> None:
        super().__init__(scope, construct_id)
        self._token_length = token_length
        self.api_token = self._secret("ApiToken", "Bearer token of the library's API.", survive=survive)
        self.callback_secret = self._secret(
            "CallbackSecret", "Signs callbacks of the state machine to the library's API.", survive=survive
        )

    def _secret(self, construct_id: str, description: str, *, survive: bool) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            construct_id,
            description=description,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=self._token_length, exclude_punctuation=True, include_space=False
            ),
            removal_policy=RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY,
        )
        acknowledge(
            secret, "SMG4", "Whoever calls the API must get a new value first: docs/deploy.md, Rotate."
        )
        return secret
