"""How moto is patched: every patched symbol is named, has a reason and a digest of what it replaces.

The digest makes an upgrade of moto fail loudly instead of leaving half of the overlay in the air.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from livedub.errors import LivedubError

MOTO_VERSION = "5.2.5"
_DIGEST_LENGTH = 12

Wrap = Callable[[Any], Any]
"""Takes the original, returns what replaces it."""


class OverlayError(LivedubError):
    """moto is not the one this overlay was written for."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One replaced symbol.

    Attributes:
        symbol: `module:Class.attribute` or `module:function`.
        digest: of the original's source (`source_digest`).
        reason: why moto's own does not do.
        wrap: makes the replacement.
        everywhere: other modules of moto have imported the function by name; replace it there too.
    """

    symbol: str
    digest: str
    reason: str
    wrap: Wrap
    everywhere: bool = False


def resolve(symbol: str) -> tuple[Any, str, Any]:
    """The owner, the attribute's name and the object a symbol names.

    Raises:
        OverlayError: moto has no such symbol.
    """
    module_name, _, path = symbol.partition(":")
    try:
        owner: Any = importlib.import_module(module_name)
        *owners, name = path.split(".")
        for part in owners:
            owner = getattr(owner, part)
        original = inspect.getattr_static(owner, name)
    except (ImportError, AttributeError) as error:
        raise OverlayError(
            f"moto no longer has {symbol}.", remedy=f"Pin moto to {MOTO_VERSION}, or port the overlay."
        ) from error
    return owner, name, original


def source_digest(symbol: str) -> str:
    """The first 12 hex digits of the sha256 of a symbol's source text."""
    _, _, original = resolve(symbol)
    text = inspect.getsource(original.__func__ if isinstance(original, classmethod) else original)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def verify(patches: Iterable[Patch]) -> None:
    """Check that every patch finds what it was written for.

    Raises:
        OverlayError: names each symbol that is gone or differs.
    """
    changed = [patch.symbol for patch in patches if source_digest(patch.symbol) != patch.digest]
    if changed:
        raise OverlayError(
            f"moto's {', '.join(changed)} changed since the overlay was written.",
            remedy=f"Pin moto to {MOTO_VERSION}, or read the change, port the patch and renew its digest.",
        )


def apply(patches: Iterable[Patch]) -> None:
    """Put every replacement in place."""
    for patch in patches:
        owner, name, original = resolve(patch.symbol)
        replacement = patch.wrap(original)
        setattr(owner, name, replacement)
        if patch.everywhere:
            for module in list(sys.modules.values()):
                if module.__name__.startswith("moto.") and vars(module).get(name) is original:
                    setattr(module, name, replacement)


def created(
    original: Any,
    *,
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    amend: Callable[[Any, dict[str, Any]], None] | None = None,
) -> Any:
    """A resource's `create_from_cloudformation_json` around moto's.

    `prepare` turns the template's properties into those moto gets; `amend` completes what it made, by the template's own.
    """

    @classmethod
    def create_from_cloudformation_json(
        cls: Any, resource_name: str, cloudformation_json: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        properties = cloudformation_json.get("Properties", {})
        template = cloudformation_json
        if prepare is not None:
            template = {**cloudformation_json, "Properties": prepare(properties)}
        resource = original.__func__(cls, resource_name, template, *args, **kwargs)
        if amend is not None:
            amend(resource, properties)
        return resource

    return create_from_cloudformation_json
