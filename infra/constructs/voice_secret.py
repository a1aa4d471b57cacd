"""The secret that writers of the media cache read: their token, and nothing that they need not know."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.media_cache_names import MediaCacheNames
from infra.constructs.token_secret import make_token_secret


class VoiceSecret(Construct):
    """`{"TTS_MEDIA_CACHE_UPLOAD_TOKEN": "..."}`, generated in the account: docs/adr/0010 says why it is one of its own."""

    def __init__(
        self, scope: Construct, construct_id: str, *, names: MediaCacheNames, token_length: int, survive: bool
    ) -> None:
        super().__init__(scope, construct_id)
        self.secret = make_token_secret(
            self,
            name=names.voice_secret,
            description="Of those who write to the media cache: TTS_MEDIA_CACHE_UPLOAD_TOKEN.",
            token="TTS_MEDIA_CACHE_UPLOAD_TOKEN",  # noqa: S106 - its name
            token_length=token_length,
            survive=survive,
        )
