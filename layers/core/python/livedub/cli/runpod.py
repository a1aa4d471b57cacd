"""`livedub runpod`: the Serverless endpoint of a RunPod account, as a file describes it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from livedub.sts.runpod_account import RunpodEndpoint
    from livedub.sts.runpod_account_client import RunpodAccount
    from livedub.sts.runpod_deployment import Plan, Present
    from livedub.sts.runpod_endpoint_spec import RunpodEndpointSpec

runpod = typer.Typer(
    no_args_is_help=True,
    help="Deploy speech to speech as a Serverless endpoint of your RunPod account.",
    epilog="The account's key comes from RUNPOD_API_KEY, else, with --environment, from that environment's secret in AWS; "
    "never from the command line. The file's fields: docs/runpod.md.",
)

FileOption = Annotated[
    Path, typer.Option("--file", metavar="FILE", help="What the endpoint shall be.", show_default=True)
]
EnvironmentOption = Annotated[
    str,
    typer.Option(
        metavar="ENV", help="Of the CDK app: names the endpoint livedub-ENV-sts, and is told its id in AWS."
    ),
]
NameOption = Annotated[
    str, typer.Option(metavar="NAME", help="Another name for the endpoint; its template is NAME-worker.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@runpod.command()
def deploy(
    *,
    file: FileOption = Path("runpod-endpoint.json"),
    image: Annotated[
        str,
        typer.Option(
            metavar="IMAGE",
            help="The worker's image by digest, instead of the file's; without either, the deployed one stays.",
        ),
    ] = "",
    network_volume: Annotated[
        str, typer.Option(metavar="ID", help="The volume with the models, instead of the file's.")
    ] = "",
    environment: EnvironmentOption = "",
    name: NameOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the template and the endpoint, or change what differs from the file. Safe to repeat."""
    from livedub.sts.runpod_deployment import carry_out, look, make_plan  # noqa: PLC0415 - heavy

    spec = _spec(file, image=image, network_volume=network_volume)
    wanted = _name(name, environment)
    with _account(environment) as account:
        plan = make_plan(spec, look(account, wanted))
        if not as_json:
            _tell(plan, dry_run=dry_run)
        if dry_run:
            if as_json:
                _print_json(plan.present.endpoint, plan, changed=False)
            return
        endpoint = carry_out(account, plan)
    if as_json:
        _print_json(endpoint, plan, changed=not plan.empty)
    else:
        typer.echo(f"endpoint {wanted}: {endpoint.id}\nSTS_SERVICE_URL={endpoint.service_url}")
    if environment:
        _point_to(environment, endpoint.id)


@runpod.command()
def show(*, environment: EnvironmentOption = "", name: NameOption = "", as_json: AsJson = False) -> None:
    """Show the endpoint, its settings and its workers. Fails where there is none."""
    from livedub.sts.runpod_deployment import look  # noqa: PLC0415 - heavy

    wanted = _name(name, environment)
    with _account(environment) as account:
        endpoint = _there(look(account, wanted))
        workers = account.workers(endpoint.id)
    settings = {**endpoint.container(), **endpoint.placement()}
    if as_json:
        import json  # noqa: PLC0415

        document = {"id": endpoint.id, "service_url": endpoint.service_url, "workers": workers.model_dump()}
        typer.echo(json.dumps(document | {"settings": _readable(settings)}))
        return
    typer.echo(f"endpoint {wanted}: {endpoint.id}\nSTS_SERVICE_URL={endpoint.service_url}")
    for setting, value in sorted(_readable(settings).items()):
        typer.echo(f"  {setting}: {value}")
    counts = ", ".join(f"{count} {kind}" for kind, count in workers.model_dump().items() if count)
    typer.echo(f"workers: {counts or 'none'}")
    if endpoint.workers.max == 0:
        typer.secho(
            "warning: workers.max is 0, no job is done. RunPod sets it so after 7 days without jobs; deploy again.",
            fg=typer.colors.YELLOW,
            err=True,
        )


@runpod.command()
def remove(
    *,
    environment: EnvironmentOption = "",
    name: NameOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the endpoint with its workers and waiting jobs, and its template. Streams that use it keep their own sound."""
    from livedub.sts.runpod_deployment import look  # noqa: PLC0415 - heavy
    from livedub.sts.runpod_deployment import remove as take_away  # noqa: PLC0415

    wanted = _name(name, environment)
    with _account(environment) as account:
        present = look(account, wanted)
        if present.endpoint is None and present.template is None:
            typer.echo(f"the account has nothing called {wanted}")
            return
        if not yes:
            typer.confirm(f"Delete endpoint {wanted} and its template for good?", abort=True)
        for gone in take_away(account, present):
            typer.echo(f"deleted {gone}")


def _spec(file: Path, **instead: str) -> RunpodEndpointSpec:
    """The file's endpoint, with what is given here instead of it; empty for nothing."""
    from livedub.sts.runpod_endpoint_spec import read_spec  # noqa: PLC0415 - heavy

    spec = read_spec(file).model_copy(update={name: value for name, value in instead.items() if value})
    if spec.image:
        spec.checked_image()
    return spec


def _name(name: str, environment: str) -> str:
    from livedub.sts.runpod_deployment import endpoint_name  # noqa: PLC0415 - heavy

    return name or endpoint_name(environment)


@contextmanager
def _account(environment: str) -> Generator[RunpodAccount]:
    from livedub.errors import ConfigurationError  # noqa: PLC0415 - heavy
    from livedub.sts.runpod_account_client import KEY_VARIABLE, RunpodAccount  # noqa: PLC0415
    from livedub.sts.runpod_account_settings import RunpodAccountSettings  # noqa: PLC0415

    settings = RunpodAccountSettings()
    key = settings.api_key.get_secret_value().strip()
    if not key and environment:
        from livedub.supervision.sts_parameter_store import StsParameterStore, sts_secret  # noqa: PLC0415

        key = StsParameterStore.connect().api_key(sts_secret(environment))
    if not key:
        raise ConfigurationError(
            f"{KEY_VARIABLE} is not set.",
            remedy="Set it to a key of your RunPod account, or name the --environment whose secret holds one.",
        )
    with RunpodAccount(key, settings.account_url) as account:
        yield account


def _tell(plan: Plan, *, dry_run: bool) -> None:
    if plan.empty:
        typer.echo("nothing to change")
        return
    if dry_run:
        typer.echo("would do:")
    for line in plan.lines():
        typer.echo(line)


def _print_json(endpoint: RunpodEndpoint | None, plan: Plan, *, changed: bool) -> None:
    import json  # noqa: PLC0415

    document = {
        "id": endpoint.id if endpoint else None,
        "service_url": endpoint.service_url if endpoint else None,
        "changed": changed,
        "plan": plan.lines(),
    }
    typer.echo(json.dumps(document))


def _point_to(environment: str, endpoint_id: str) -> None:
    from livedub.supervision.sts_parameter_store import StsParameterStore  # noqa: PLC0415 - heavy

    changed = StsParameterStore.connect().point_to(environment, endpoint_id)
    if changed is None:
        typer.echo(
            f"{environment} is not deployed with RunPod yet: deploy it with -c runpod_endpoint_id={endpoint_id}",
            err=True,
        )
        return
    for parameter in changed:
        typer.echo(f"{parameter}: changed; running streams follow", err=True)
    if changed:
        typer.echo(f"deploy {environment} with -c runpod_endpoint_id={endpoint_id} from now on", err=True)


def _there(present: Present) -> RunpodEndpoint:
    from livedub.errors import ConfigurationError  # noqa: PLC0415 - heavy

    if present.endpoint is None:
        raise ConfigurationError(
            f"the account has no endpoint called {present.name}.", remedy="Make it: livedub runpod deploy."
        )
    return present.endpoint


def _readable(settings: dict[str, object]) -> dict[str, str]:
    from livedub.sts.runpod_account import shown  # noqa: PLC0415 - heavy

    return {setting: shown(setting, value) for setting, value in settings.items()}
