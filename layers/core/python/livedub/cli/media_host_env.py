"""`livedub media host-env`: on a cache host in AWS, the secrets of its services as files that systemd reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(media: typer.Typer) -> None:
    """Add the command to `livedub media`."""
    media.command("host-env")(host_env)


def host_env(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they go; /etc/livedub.")],
    *,
    database_secret: Annotated[
        str,
        typer.Option(metavar="NAME", help="Secret with the catalogue's address, as RDS writes it."),
    ],
    port: Annotated[int, typer.Option(min=1, max=65_535, envvar="MEDIA_PORT", help="HTTPS port.")] = 8443,
) -> None:
    """Write media-upload.env, media-upload.tokens and media-cleanup.env, with MEDIA_SETTINGS_SOURCE=aws.

    What they hold comes from Secrets Manager and SSM: run it again where that has changed. Tokens are good at once; for
    the rest restart livedub-media-upload. PRIVATE_IP says where the host serves.
    """
    from livedub.database.database_secret import database_url  # noqa: PLC0415
    from livedub.errors import ConfigurationError  # noqa: PLC0415 - heavy
    from livedub.media_cache.host_environment import (  # noqa: PLC0415
        CLEANUP_NAMES,
        UPLOAD_NAMES,
        write_environment,
        write_tokens,
    )
    from livedub.media_cache.media_tls_settings import MediaTlsSettings, SettingsSource  # noqa: PLC0415
    from livedub.media_cache.parameter_store import ParameterStore  # noqa: PLC0415
    from livedub.supervision.secret_store import SecretStore  # noqa: PLC0415

    settings = MediaTlsSettings.load()
    if settings.settings_source is not SettingsSource.AWS or not settings.namespace or not settings.ips:
        raise ConfigurationError(
            "host-env has nothing to fetch.",
            remedy="Set MEDIA_SETTINGS_SOURCE=aws, NAMESPACE and PRIVATE_IP.",
        )
    store = ParameterStore.connect()
    variables = store.media_variables(settings.namespace)
    token = variables.get("MEDIA_UPLOAD_TOKEN", "")
    if not token:
        raise ConfigurationError(
            f"Secret {settings.namespace}/media/secrets has no MEDIA_UPLOAD_TOKEN.",
            remedy="Put one into it: openssl rand -hex 32.",
        )
    variables["DATABASE_URL"] = database_url(SecretStore.connect(), database_secret)
    variables["TTS_MEDIA_CACHE_BASE_URL"] = f"https://{settings.ips[0]}:{port}"
    variables["TTS_MEDIA_CACHE_UPLOAD_TOKEN"] = token
    accepted = folder.absolute() / "media-upload.tokens"
    variables["MEDIA_UPLOAD_TOKENS_FILE"] = str(accepted)
    write_tokens(accepted, store.writers_tokens(settings.namespace))
    write_environment(folder / "media-upload.env", variables, UPLOAD_NAMES)
    write_environment(folder / "media-cleanup.env", variables, CLEANUP_NAMES)
