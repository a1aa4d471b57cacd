"""CloudFormation: what templates of ours say and moto does not do."""

from __future__ import annotations

import re
from typing import Any

from moto.cloudformation.parsing import OutputMap

from local.aws.overlay.patching import Patch, created


def patches() -> list[Patch]:
    """The patches of CloudFormation."""
    return [
        Patch(
            "moto.cloudformation.models:ChangeSet.apply",
            "1644afa9d35c",
            "stacks made by a change set, as the CDK makes them, have no outputs in moto",
            _apply_with_outputs,
        ),
        Patch(
            "moto.stepfunctions.models:StateMachine.create_from_cloudformation_json",
            "97e9fc1f9bd3",
            "moto ignores DefinitionSubstitutions",
            _create_substituted,
        ),
        Patch(
            "moto.dynamodb.models.table:Table.create_from_cloudformation_json",
            "2ade84941382",
            "moto ignores TimeToLiveSpecification",
            _create_with_time_to_live,
        ),
    ]


def _apply_with_outputs(original: Any) -> Any:
    def apply(self: Any) -> None:
        original(self)
        stack = self.stack
        stack.template_dict = self.template_dict
        stack.output_map = OutputMap(stack.resource_map, self.template_dict, stack.stack_id)

    return apply


def _create_substituted(original: Any) -> Any:
    def substitute(properties: dict[str, Any]) -> dict[str, Any]:
        values = properties.get("DefinitionSubstitutions", {})
        definition = re.sub(
            r"\$\{(\w+)\}",
            lambda found: str(values.get(found[1], found[0])),
            properties.get("DefinitionString", ""),
        )
        kept = {name: value for name, value in properties.items() if name != "DefinitionSubstitutions"}
        return {**kept, "DefinitionString": definition}

    return created(original, prepare=substitute)


def _create_with_time_to_live(original: Any) -> Any:
    def amend(table: Any, properties: dict[str, Any]) -> None:
        expiry = properties.get("TimeToLiveSpecification")
        if expiry and str(expiry.get("Enabled")).lower() == "true":
            table.ttl.update(TimeToLiveStatus="ENABLED", AttributeName=expiry["AttributeName"])

    return created(original, amend=amend)
