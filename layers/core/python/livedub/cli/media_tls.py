"""`livedub media tls-init`, `rotate` and `check-tls`: the cache host's certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from livedub.media_cache.media_tls_settings import MediaTlsSettings
    from livedub.media_cache.rotation import Rotated, Rotation

PrivateCaOption = Annotated[
    bool,
    typer.Option(
        "--private-ca",
        help="Issue by an authority of this host's own that consumers trust (MEDIA_TLS_PRIVATE_CA).",
    ),
]


def register(group: typer.Typer) -> None:
    """Add the commands to `livedub media`."""
    group.command("tls-init")(tls_init)
    group.command("rotate")(rotate)


def tls_init(
    *,
    print_bundle: Annotated[
        bool,
        typer.Option("--print-bundle", help="Print TTS_MEDIA_CACHE_CA_BUNDLE, one line, and nothing else."),
    ] = False,
    private_ca: PrivateCaOption = False,
    write_env: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With MEDIA_SETTINGS_SOURCE=aws: write what the services read to FILE, for systemd's EnvironmentFile.",
        ),
    ] = None,
) -> None:
    """See that the host has a certificate and key: from its variables, its files, or made here."""
    from livedub.media_cache.tls_material import fingerprint  # noqa: PLC0415 - heavy
    from livedub.media_cache.tls_sources import bundle_b64, init_tls  # noqa: PLC0415

    settings = _settings(private_ca=private_ca)
    if write_env is not None:
        _write_environment(settings, write_env)
    choice = init_tls(settings)
    _warn(choice.warnings)
    leaf = choice.material.leaf
    typer.echo(
        f"{settings.tls_folder}: certificate from {choice.source.value}, "
        f"sha256 {fingerprint(choice.material.fullchain_pem)}, until {leaf.not_valid_after_utc:%Y-%m-%d}",
        err=True,
    )
    if print_bundle:
        typer.echo(bundle_b64(choice.material))


def rotate(
    *,
    renew: Annotated[
        bool, typer.Option("--renew", help="Make a new certificate here instead of fetching one.")
    ] = False,
    renew_ca: Annotated[
        bool, typer.Option("--renew-ca", help="Make a new private authority and a certificate of it.")
    ] = False,
    private_ca: PrivateCaOption = False,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare",
            help="Only tell consumers of the new certificate; have them start again, then rotate with the same options.",
        ),
    ] = False,
    drop_old: Annotated[
        bool,
        typer.Option("--drop-old", help="Only take what vouched for the old one out of consumers' bundles."),
    ] = False,
    back: Annotated[
        bool,
        typer.Option(
            "--back",
            help="Undo a change: serve what the variables hold, or, where they are empty again, the pair before them.",
        ),
    ] = False,
    unless_given: Annotated[
        bool,
        typer.Option(
            "--unless-given",
            help="With --renew: do nothing where the variables hold a pair. For the weekly timer.",
        ),
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            min=0, max=3_600, help="Seconds to wait for a new pair while its variables are being written."
        ),
    ] = 0,
) -> None:
    """Serve a new certificate: fetch, check, announce, write, reload by force, compare; the old one if that fails."""
    from livedub.media_cache.rotation import Renewal  # noqa: PLC0415 - heavy

    rotation = _rotation(private_ca=private_ca or renew_ca)
    renewal = Renewal(wanted=renew, new_ca=renew_ca)
    if drop_old:
        for name in rotation.drop_old():
            typer.echo(f"{name}: what vouched for the old certificate is out")
        return
    if unless_given and rotation.given():
        typer.echo("the variables hold a pair: nothing is made here")
        return
    if back:
        _report(rotation.back(), prepared=False)
        return
    rotated = rotation.prepare(renewal) if prepare else rotation.rotate(renewal, wait_s=wait)
    _report(rotated, prepared=prepare)


def _report(rotated: Rotated, *, prepared: bool) -> None:
    _warn(rotated.warnings)
    for name in rotated.published:
        typer.echo(f"{name}: changed; consumers trust what is new in it once they have started again")
    if prepared:
        typer.echo(f"prepared {rotated.new}; {rotated.old or 'nothing'} is still served")
    elif rotated.new == rotated.old:
        typer.echo(f"unchanged: {rotated.new} is served")
    else:
        typer.echo(f"{rotated.new} is served, {rotated.old or 'nothing'} was")


def _settings(*, private_ca: bool) -> MediaTlsSettings:
    from livedub.media_cache.media_tls_settings import load_media_tls_settings  # noqa: PLC0415 - heavy

    settings = load_media_tls_settings()
    return settings.model_copy(update={"tls_private_ca": True}) if private_ca else settings


def _rotation(*, private_ca: bool) -> Rotation:
    from livedub.media_cache.caddy_admin_client import CaddyHost  # noqa: PLC0415 - heavy
    from livedub.media_cache.parameter_store import ParameterStore  # noqa: PLC0415
    from livedub.media_cache.rotation import Rotation  # noqa: PLC0415

    settings = _settings(private_ca=private_ca)
    host = CaddyHost(settings.caddy_admin_socket, settings.https_address)
    return Rotation(lambda: _settings(private_ca=private_ca), host, ParameterStore.connect)


def _write_environment(settings: MediaTlsSettings, path: Path) -> None:
    from livedub.errors import ConfigurationError  # noqa: PLC0415 - heavy
    from livedub.media_cache.host_environment import write_environment  # noqa: PLC0415
    from livedub.media_cache.media_tls_settings import SettingsSource  # noqa: PLC0415
    from livedub.media_cache.parameter_store import ParameterStore  # noqa: PLC0415

    if settings.settings_source is not SettingsSource.AWS:
        raise ConfigurationError("--write-env has nothing to fetch.", remedy="Set MEDIA_SETTINGS_SOURCE=aws.")
    write_environment(path, ParameterStore.connect().media_variables(settings.namespace))


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)
