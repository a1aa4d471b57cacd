"""Bringing an endpoint of RunPod to what its file says: look, compare, change what differs, look again.

The template holds the container's settings. RunPod copies them into an endpoint when it is made and when an update names
the template, and keeps no link: a changed template alone changes no worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from livedub.errors import ConfigurationError
from livedub.sts.runpod_account import (
    QUEUE,
    Change,
    RunpodEndpoint,
    Template,
    changed_placement_body,
    container_body,
    differences,
    endpoint_body,
    template_body,
    wanted_container,
    wanted_placement,
)
from livedub.sts.runpod_endpoint_spec import RunpodEndpointSpec

if TYPE_CHECKING:
    from livedub.sts.runpod_account_client import RunpodAccount

DEFAULT_NAME = "livedub-sts"
_FLASHBOOT_SUFFIX = " -fb"
"""What RunPod's console and older interfaces append to the name of an endpoint with FlashBoot."""


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


_Resource = TypeVar("_Resource", bound=_Named)


@dataclass(frozen=True, slots=True)
class Present:
    """What the account has under a name."""

    name: str
    template: Template | None
    endpoint: RunpodEndpoint | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done for `spec`; a template or endpoint that is not there yet differs in everything."""

    present: Present
    spec: RunpodEndpointSpec
    template_changes: Sequence[Change]
    container_changes: Sequence[Change]
    placement_changes: Sequence[Change]

    @property
    def empty(self) -> bool:
        """Whether everything is as it shall be."""
        return not (self.template_changes or self.container_changes or self.placement_changes)

    def lines(self) -> list[str]:
        """The plan for people: what is made, and each setting that changes."""
        name, there = self.present.name, self.present
        told: list[str] = []
        if self.template_changes:
            told.append(f"template {template_name(name)}: {'change' if there.template else 'make'}")
            told += [f"  {change}" for change in self.template_changes]
        if self.container_changes or self.placement_changes:
            told.append(f"endpoint {name}: {'change' if there.endpoint else 'make'}")
            told += [f"  {change}" for change in (*self.container_changes, *self.placement_changes)]
        if there.endpoint and self.container_changes:
            told.append("  its workers are replaced; those at work finish their job first")
        return told


def endpoint_name(environment: str) -> str:
    """The endpoint of an environment; without one, that of nobody's environment."""
    return f"livedub-{environment}-sts" if environment else DEFAULT_NAME


def template_name(name: str) -> str:
    """The template of the endpoint called `name`; RunPod wants templates' names to differ."""
    return f"{name}-worker"


def look(account: RunpodAccount, name: str) -> Present:
    """What the account has under `name`.

    Raises:
        ConfigurationError: two endpoints or templates are called so, or the endpoint is of another kind.
        LivedubError: as the account raises.
    """
    template = _only("template", template_name(name), account.templates())
    endpoint = _only("endpoint", name, account.endpoints())
    if endpoint is not None and endpoint.type not in {"", QUEUE}:
        raise ConfigurationError(
            f"endpoint {name} ({endpoint.id}) is a {endpoint.type} endpoint; what it is cannot be changed.",
            remedy="Delete it, or give another --name.",
        )
    if endpoint is not None and endpoint.gpu is None:
        raise ConfigurationError(
            f"endpoint {name} ({endpoint.id}) has workers without a GPU; that cannot be changed.",
            remedy="Delete it, or give another --name.",
        )
    return Present(name, template, endpoint)


def make_plan(spec: RunpodEndpointSpec, present: Present) -> Plan:
    """Compare what shall be with what is there. A file that names no image leaves the one that is deployed.

    Raises:
        ConfigurationError: the image is missing or no digest, or the models lie on a volume that is not there.
    """
    if present.endpoint and not spec.image:
        spec = spec.model_copy(update={"image": present.endpoint.image})
    wanted = wanted_container(spec)
    template = present.template
    of_template = {**template.container(), "serverless": template.serverless} if template else {}
    of_endpoint = present.endpoint.container() if present.endpoint else {}
    placement = present.endpoint.placement() if present.endpoint else {}
    wanted_place = wanted_placement(spec, placement)
    spec.check_volume(attached=bool(wanted_place["network_volumes"]))
    return Plan(
        present,
        spec,
        differences(of_template, {**wanted, "serverless": True}),
        differences(of_endpoint, wanted),
        differences(placement, wanted_place),
    )


def carry_out(account: RunpodAccount, plan: Plan) -> RunpodEndpoint:
    """Do what the plan says; safe to repeat after any failure.

    Raises:
        LivedubError: as the account raises.
        ConfigurationError: RunPod took the change and holds other settings all the same.
    """
    template = _with_template(account, plan)
    spec, present = plan.spec, plan.present
    endpoint = present.endpoint
    if endpoint is None:
        endpoint = account.create_endpoint(
            {**endpoint_body(present.name, spec), "templateId": template.id, "env": dict(spec.env)}
        )
    elif plan.container_changes or plan.placement_changes:
        body = changed_placement_body(spec, plan.placement_changes)
        if plan.container_changes:
            # `env` besides: RunPod merges it with the template's, and a body that names it replaces the endpoint's.
            body |= {"templateId": template.id, "env": dict(spec.env)}
        endpoint = account.update_endpoint(endpoint.id, body)
    left = make_plan(spec, Present(present.name, template, endpoint))
    if not left.empty:
        raise ConfigurationError(
            f"endpoint {present.name} ({endpoint.id}) is not what was asked for: "
            f"{'; '.join(line.strip() for line in left.lines() if ' -> ' in line)}.",
            remedy="RunPod took the change without keeping it: see the account's limits and the catalogue of pools.",
        )
    return endpoint


def remove(account: RunpodAccount, present: Present) -> list[str]:
    """Delete endpoint and template, in that order; returns what was deleted.

    Raises:
        LivedubError: as the account raises.
    """
    gone: list[str] = []
    if present.endpoint and account.delete_endpoint(present.endpoint.id):
        gone.append(f"endpoint {present.name} ({present.endpoint.id})")
    # RunPod may have taken it along with its endpoint.
    if present.template and account.delete_template(present.template.id):
        gone.append(f"template {present.template.name} ({present.template.id})")
    return gone


def _with_template(account: RunpodAccount, plan: Plan) -> Template:
    template = plan.present.template
    if template is None:
        return account.create_template(template_body(template_name(plan.present.name), plan.spec))
    if not plan.template_changes:
        return template
    return account.update_template(template.id, {"serverless": True, **container_body(plan.spec)})


def _only(kind: str, name: str, found: Sequence[_Resource]) -> _Resource | None:
    fitting = [each for each in found if each.name.removesuffix(_FLASHBOOT_SUFFIX) == name]
    if len(fitting) > 1:
        raise ConfigurationError(
            f"the account has {len(fitting)} {kind}s called {name}: {', '.join(each.id for each in fitting)}.",
            remedy="Delete or rename all but one in RunPod's console, or give another --name.",
        )
    return fitting[0] if fitting else None
