"""CloudFormation: what templates of ours say and moto does not do."""

from __future__ import annotations

import logging
import re
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import NULL_MODELS, OutputMap, get_model_map

from local.aws.overlay.dynamic_references import resolved
from local.aws.overlay.patching import Patch, created

_LOG = logging.getLogger(__name__)
_NOTHING = frozenset({"AWS::CDK::Metadata"})
"""What the CDK says about itself."""
_ADDRESS_ATTRIBUTES = {"AllocationId": "allocation_id", "PublicIp": "public_ip"}


def patches() -> list[Patch]:
    """The patches of CloudFormation."""
    return [
        Patch(
            "moto.cloudformation.models:ChangeSet.apply",
            "1644afa9d35c",
            "stacks made by a change set, as the CDK makes them, have no outputs, exports and imports in moto",
            _apply_with_outputs,
        ),
        Patch(
            "moto.cloudformation.models:CloudFormationBackend.execute_change_set",
            "1090cb5b81ab",
            "moto answers 500 where a resource cannot be made, and says neither which nor why",
            _execute_telling_failures,
        ),
        Patch(
            "moto.cloudformation.parsing:parse_and_create_resource",
            "ea3c10d68d2c",
            "moto does not say which resource of a template could not be made",
            _create_named,
        ),
        Patch(
            "moto.cloudformation.parsing:parse_resource",
            "7e5488f05fab",
            "moto takes {{resolve:...}} for the value itself",
            _parse_resolved,
        ),
        Patch(
            "moto.cloudformation.parsing:clean_json",
            "9fbe5dedab81",
            "moto does not know Fn::GetStackOutput, by which a stack reads another's output without binding it",
            _clean_with_outputs_of_others,
            everywhere=True,
        ),
        Patch(
            "moto.cloudformation.parsing:resource_class_from_type",
            "ca766bc34c19",
            "moto leaves out what it does not know and calls the deployment a success",
            _only_known_types,
        ),
        Patch(
            "moto.ec2.models.elastic_ip_addresses:ElasticAddress.has_cfn_attr",
            "eb6fd7a1e80b",
            "moto knows an Elastic IP's allocation and not its address",
            lambda _original: classmethod(lambda _cls, attribute: attribute in _ADDRESS_ATTRIBUTES),
        ),
        Patch(
            "moto.ec2.models.elastic_ip_addresses:ElasticAddress.get_cfn_attribute",
            "536a99908fb7",
            "moto knows an Elastic IP's allocation and not its address",
            lambda _original: lambda self, name: getattr(self, _ADDRESS_ATTRIBUTES[name]),
        ),
        Patch(
            "moto.ssm.models:Parameter.create_from_cloudformation_json",
            "1fb1b42f9179",
            "moto takes a template's tags of a parameter for a list",
            _create_with_tag_list,
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
        stack = self.stack
        exports = cloudformation_backends[stack.account_id][stack.region_name].exports
        stack.resource_map.cross_stack_resources = exports
        original(self)
        stack.template_dict = self.template_dict
        stack.output_map = OutputMap(stack.resource_map, self.template_dict, stack.stack_id)
        # Looked at now: one that cannot be had fails the stack, not whoever describes it.
        list(stack.output_map.values())
        exports.update({export.name: export for export in stack.exports})

    return apply


def _execute_telling_failures(original: Any) -> Any:
    def execute_change_set(self: Any, change_set_name: str, stack_name: str | None = None) -> None:
        change_set = self.describe_change_set(change_set_name)
        try:
            original(self, change_set_name, stack_name)
        except Exception as error:
            if change_set is None:
                raise
            if not isinstance(error, _ResourceError):
                _LOG.exception("stack %s cannot be made", change_set.stack_name)
            stack = change_set.stack
            stack.output_map = OutputMap(stack.resource_map, {}, stack.stack_id)
            change_set.execution_status = "EXECUTE_FAILED"
            # CloudFormation carries change sets out behind the caller's back: their end is an event and a status.
            stack._add_stack_event("ROLLBACK_IN_PROGRESS", resource_status_reason=str(error))  # noqa: SLF001 - moto's own way
            stack._add_stack_event("ROLLBACK_COMPLETE", resource_status_reason=str(error))  # noqa: SLF001
            stack.status = "ROLLBACK_COMPLETE"

    return execute_change_set


class _ResourceError(ValidationError):
    """A resource could not be made; names it."""


def _create_named(original: Any) -> Any:
    def parse_and_create_resource(logical_id: str, resource_json: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(logical_id, resource_json, *args, **kwargs)
        except _ResourceError:
            raise
        except Exception as error:
            _LOG.exception("%s of type %s cannot be made", logical_id, resource_json["Type"])
            said = f"{logical_id} ({resource_json['Type']}): {error or type(error).__name__}"
            raise _ResourceError(message=said) from error

    return parse_and_create_resource


def _parse_resolved(original: Any) -> Any:
    def parse_resource(resource_json: Any, resources_map: Any) -> Any:
        found = original(resource_json, resources_map)
        if found is None:
            return None
        resource_class, clean, resource_type = found
        account_id, region = resources_map["AWS::AccountId"], resources_map["AWS::Region"]
        return resource_class, resolved(clean, account_id, region), resource_type

    return parse_resource


def _clean_with_outputs_of_others(original: Any) -> Any:
    def clean_json(resource_json: Any, resources_map: Any) -> Any:
        if not isinstance(resource_json, dict) or "Fn::GetStackOutput" not in resource_json:
            return original(resource_json, resources_map)
        wanted = resource_json["Fn::GetStackOutput"]
        region = wanted.get("Region") or resources_map["AWS::Region"]
        stack = cloudformation_backends[resources_map["AWS::AccountId"]][region].get_stack(
            wanted["StackName"]
        )
        found = (
            stack.output_map[wanted["OutputName"]]
            if wanted["OutputName"] in stack.output_map.outputs
            else None
        )
        if found is None:
            raise ValidationError(message=f"{wanted['StackName']} has no output {wanted['OutputName']}")
        return found.value

    return clean_json


def _only_known_types(original: Any) -> Any:
    def resource_class_from_type(resource_type: str) -> Any:
        known = resource_type.startswith("Custom::") or resource_type in {*NULL_MODELS, *_NOTHING}
        if not known and resource_type not in get_model_map():
            raise ValidationError(
                message=f"{resource_type} is neither made here nor listed in local/aws/overlay/skipped_types.py"
            )
        return None if resource_type in _NOTHING else original(resource_type)

    return resource_class_from_type


def _create_with_tag_list(original: Any) -> Any:
    def listed(properties: dict[str, Any]) -> dict[str, Any]:
        tags = properties.get("Tags")
        if not isinstance(tags, dict):
            return properties
        return {**properties, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    return created(original, prepare=listed)


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
