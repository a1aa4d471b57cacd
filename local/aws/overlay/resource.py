"""A resource of a template on its way from what is wanted to what exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.aws.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource of a template, its references resolved."""

    name: str
    """What CloudFormation would call it where the template gives no name."""
    properties: Mapping[str, Any]
    account_id: str
    region: str
    runtime: Runtime

    @property
    def endpoint(self) -> str:
        """The local AWS."""
        return self.runtime.endpoint


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists: what Ref and GetAtt give, and how it goes."""

    physical_id: str
    remove: Callable[[], object]
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ResourceType:
    """How resources of one type are made, and the attributes GetAtt knows."""

    make: Callable[[Wanted], Made]
    attributes: tuple[str, ...] = ()
