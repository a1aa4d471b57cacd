"""The secret that writers of the media cache read: their token, and nothing that they need not know."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.constructs.acknowledged import acknowledge
from infra.constructs.media_cache_names import MediaCacheNames


class VoiceSecret(Construct):
    """`{"TTS_MEDIA_CACHE_UPLOAD_TOKEN": "..."}`, generated in the account: docs/adr/0010 says why it is one of its own."""

    def __init__(
        self, scope: Construct, construct_id: str, *, names: MediaCacheNames, token_length: int, survive: bool
    ) -> None:
        super().__init__(scope, construct_id)
        self.secret = secretsmanager.Secret(
            self,
            "Secret",
            secret_name=names.voice_secret,
            description="Of those who write to the media cache: TTS_MEDIA_CACHE_UPLOAD_TOKEN.",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template="{}",  # noqa: S106 - none
                generate_string_key="TTS_MEDIA_CACHE_UPLOAD_TOKEN",
                password_length=token_length,
                exclude_punctuation=True,
                include_space=False,
            ),
            # Where the deployment that makes it fails it goes: its name would be in the way of the next.
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if survive else RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.secret,
            "SMG4",
            "The host must accept a new token before it is used: docs/media-cache.md, Tokens.",
        )
