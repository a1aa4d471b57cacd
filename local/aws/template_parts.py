"""Reads which parts of CloudFormation templates need which."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_IN_TEXT = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")
"""What Fn::Sub refers to."""


def imported_names(template: Mapping[str, Any]) -> frozenset[str]:
    """The exports of other stacks that `template` imports."""
    found: set[str] = set()
    for node in _objects(template):
        name = node.get("Fn::ImportValue")
        if isinstance(name, str):
            found.add(name)
    return frozenset(found)


def only_for(
    template: Mapping[str, Any], *, exports: Collection[str], outputs: Collection[str]
) -> dict[str, Any]:
    """`template` with the outputs of these names, or exported by these, and the resources that they need."""
    kept_outputs = {
        name: output
        for name, output in template.get("Outputs", {}).items()
        if name in outputs or output.get("Export", {}).get("Name") in exports
    }
    resources: Mapping[str, Any] = template["Resources"]
    kept: set[str] = set()
    waiting = _named(kept_outputs)
    while waiting:
        name = waiting.pop()
        if name in resources and name not in kept:
            kept.add(name)
            waiting |= _named(resources[name])
    return {
        **template,
        "Outputs": kept_outputs,
        "Resources": {name: resource for name, resource in resources.items() if name in kept},
    }


def _named(node: Any) -> set[str]:
    """Every logical id, and other names, that `node` refers to."""
    found: set[str] = set()
    for each in _objects(node):
        for key, value in each.items():
            if key in {"Ref", "DependsOn", "Fn::GetAtt"}:
                found.update([value.split(".")[0]] if isinstance(value, str) else value)
            elif key == "Fn::Sub":
                found.update(_IN_TEXT.findall(value if isinstance(value, str) else value[0]))
    return found


def _objects(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)
