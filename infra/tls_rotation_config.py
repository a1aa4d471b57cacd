"""How patient the rotation of the media cache's certificate is, in one environment."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pydantic import ValidationError

from livedub.errors import ConfigurationError
from livedub.media_cache.tls_rotation.rotation_settings import TlsCheckSettings, TlsPublishSettings


@dataclass(frozen=True, slots=True)
class TlsRotationConfig:
    """Waits, in seconds; what the functions' settings say about them holds here too.

    Attributes:
        poll_s: between two looks at the stores while certificate and key do not match.
        pair_wait_s: how long they may not match before both go back.
        settle_s: that consumers have to read a changed bundle: more than the time between two of their looks.
        drop_after_s: that what vouched for the old certificate stays in the bundles.
    """

    poll_s: int = 10
    pair_wait_s: int = 900
    settle_s: int = 120
    drop_after_s: int = 3_600

    def __post_init__(self) -> None:
        """Refuse what the functions would refuse."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        try:
            TlsCheckSettings(
                namespace="any",
                consumer_prefix="/any",
                base_url="https://any",
                poll_s=self.poll_s,
                pair_wait_s=self.pair_wait_s,
                drop_after_s=self.drop_after_s,
            )
            TlsPublishSettings(namespace="any", consumer_prefix="/any", settle_s=self.settle_s)
        except ValidationError as error:
            problem = "; ".join(
                f"{'.'.join(map(str, item['loc']))} {item['msg']}".strip() for item in error.errors()
            )
            raise ConfigurationError(
                f"media_cache.rotation {given}: {problem}.",
                remedy="Correct it in infra/config.py; docs/media-cache.md says what each is.",
            ) from error

    def check_variables(self) -> dict[str, str]:
        """Of the function that looks."""
        return {
            "MEDIA_TLS_ROTATION_POLL_S": str(self.poll_s),
            "MEDIA_TLS_ROTATION_PAIR_WAIT_S": str(self.pair_wait_s),
            "MEDIA_TLS_ROTATION_DROP_AFTER_S": str(self.drop_after_s),
        }

    def publish_variables(self) -> dict[str, str]:
        """Of the function that tells consumers."""
        return {"MEDIA_TLS_ROTATION_SETTLE_S": str(self.settle_s)}
