"""Parameters and the secret that a media-cache host starts with."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.constructs.media_cache_names import MediaCacheNames
from infra.constructs.token_secret import make_token_secret


class MediaCacheMaterial(Construct):
    """`secret` is the host's own, token and key. No certificate: it has an authority of its own until it is given one.

    MEDIA_TLS_FULLCHAIN_B64 and the consumers' TTS_MEDIA_CACHE_CA_BUNDLE are not made here: the operator writes the one and
    the host the other, and a deployment must not put back what they wrote.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: MediaCacheNames,
        san_dns: str,
        token_length: int,
        survive: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        values = {"MEDIA_DATA_DIR": "/mnt/media-data", "MEDIA_TLS_CERT_HOST_PATH": "/opt/services/media"}
        if san_dns:
            values["MEDIA_TLS_SAN_DNS"] = san_dns
        for name, value in values.items():
            ssm.StringParameter(
                self,
                name,
                parameter_name=names.parameter(name),
                string_value=value,
                description="Of the media-cache host.",
            )
        for parameter in names.consumer_parameters("TTS_MEDIA_CACHE_BASE_URL"):
            ssm.StringParameter(
                self,
                f"{parameter.split('/')[-2].title()}BaseUrl",
                parameter_name=parameter,
                string_value=names.base_url,
                description="Where consumers find the media cache.",
            )
        self.secret = make_token_secret(
            self,
            name=names.secret,
            description="Of the media-cache host: MEDIA_UPLOAD_TOKEN, and MEDIA_TLS_PRIVKEY_B64 where it is given one.",
            token="MEDIA_UPLOAD_TOKEN",  # noqa: S106 - its name
            others=("MEDIA_TLS_PRIVKEY_B64",),
            token_length=token_length,
            survive=survive,
        )
