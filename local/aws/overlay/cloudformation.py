"""CloudFormation: what templates of ours say and moto does not do."""

from __future__ import annotations

import re
from typing import Any

from moto.cloudformation.parsing import OutputMap

from local.aws.overlay.patching import Patch


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
    @classmethod
    def create_from_cloudformation_json(
        cls: Any,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Any:
        properties = dict(cloudformation_json["Properties"])
        values = properties.pop("DefinitionSubstitutions", {})
        properties["DefinitionString"] = re.sub(
            r"\$\{(\w+)\}",
            lambda found: str(values.get(found[1], found[0])),
            properties.get("DefinitionString", ""),
        )
        template = {**cloudformation_json, "Properties": properties}
        return original.__func__(cls, resource_name, template, account_id, region_name, **kwargs)

    return create_from_cloudformation_json


def _create_with_time_to_live(original: Any) -> Any:
    @classmethod
    def create_from_cloudformation_json(
        cls: Any,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> Any:
        table = original.__func__(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs)
        expiry = cloudformation_json["Properties"].get("TimeToLiveSpecification")
        if expiry and str(expiry.get("Enabled")).lower() == "true":
            table.ttl.update(TimeToLiveStatus="ENABLED", AttributeName=expiry["AttributeName"])
        return table

    return create_from_cloudformation_json
