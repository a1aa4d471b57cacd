"""A secret with a token that is generated in the account: nobody has to think of one, and no template shows it."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

import json

from aws_cdk import RemovalPolicy
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.constructs.acknowledged import acknowledge


def make_token_secret(
    scope: Construct,
    *,
    name: str,
    description: str,
    token: str,
    token_length: int,
    survive: bool,
    others: tuple[str, ...] = (),
) -> secretsmanager.Secret:
    """Make the secret `name`, with the token in its member `token` and empty `others` for whoever fills them."""
    secret = secretsmanager.Secret(
        scope,
        "Secret",
        secret_name=name,
        description=description,
        generate_secret_string=secretsmanager.SecretStringGenerator(
            secret_string_template=json.dumps(dict.fromkeys(others, "")),
            generate_string_key=token,
            password_length=token_length,
            exclude_punctuation=True,
            include_space=False,
        ),
        # Where the deployment that makes it fails it goes: its name would be in the way of the next.
        removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if survive else RemovalPolicy.DESTROY,
    )
    acknowledge(
        secret, "SMG4", "The host must accept a new token before it is used: docs/media-cache.md, Tokens."
    )
    return secret
