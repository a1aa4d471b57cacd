"""Types of resources that one call of their service's own API makes, with the template's properties."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from boto3.session import Session
from botocore.config import Config

from local.aws.overlay.resource import Made, ResourceType, Wanted

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}, proxies={})
_lock = threading.Lock()
_clients: dict[tuple[str, str, str], Any] = {}


@dataclass(frozen=True, slots=True)
class _Call:
    """One call.

    Attributes:
        service: of boto3.
        operation: its method.
        parameters: of the call, from what is wanted.
        physical_id: what Ref gives, from what is wanted and what the call answered.
    """

    service: str
    operation: str
    parameters: Callable[[Wanted], Mapping[str, Any]]
    physical_id: Callable[[Wanted, Mapping[str, Any]], str] = lambda wanted, _answer: wanted.name

    def make(self, wanted: Wanted) -> Made:
        """Call; what it made goes with the server."""
        operation = getattr(_client(wanted, self.service), self.operation)
        answer = operation(**self.parameters(wanted))
        physical_id = self.physical_id(wanted, answer)
        return Made(physical_id, lambda: None, {"Arn": _alarm_arn(wanted, physical_id)})


def _client(wanted: Wanted, service: str) -> Any:
    key = (wanted.endpoint, wanted.region, service)
    with _lock:
        if key not in _clients:
            _clients[key] = Session("local", "local", region_name=wanted.region).client(
                service, endpoint_url=wanted.endpoint, config=_CONFIG
            )
        return _clients[key]


def _alarm_arn(wanted: Wanted, name: str) -> str:
    return f"arn:aws:cloudwatch:{wanted.region}:{wanted.account_id}:alarm:{name}"


def _egress(wanted: Wanted) -> Mapping[str, Any]:
    properties = wanted.properties
    rule: dict[str, Any] = {"IpProtocol": str(properties["IpProtocol"])}
    rule |= {name: int(properties[name]) for name in ("FromPort", "ToPort") if name in properties}
    if "CidrIp" in properties:
        rule["IpRanges"] = [{"CidrIp": properties["CidrIp"]}]
    if "DestinationSecurityGroupId" in properties:
        rule["UserIdGroupPairs"] = [{"GroupId": properties["DestinationSecurityGroupId"]}]
    if "DestinationPrefixListId" in properties:
        rule["PrefixListIds"] = [{"PrefixListId": properties["DestinationPrefixListId"]}]
    return {"GroupId": properties["GroupId"], "IpPermissions": [rule]}


def _alarm(wanted: Wanted) -> Mapping[str, Any]:
    return {**wanted.properties, "AlarmName": _alarm_name(wanted)}


def _alarm_name(wanted: Wanted, _answer: Any = None) -> str:
    return str(wanted.properties.get("AlarmName", wanted.name))


def _given(*names: str) -> Callable[[Wanted], Mapping[str, Any]]:
    return lambda wanted: {name: wanted.properties[name] for name in names if name in wanted.properties}


def _metric_filter(wanted: Wanted) -> Mapping[str, Any]:
    properties = wanted.properties
    return {
        "filterName": properties.get("FilterName", wanted.name),
        "filterPattern": properties["FilterPattern"],
        "logGroupName": properties["LogGroupName"],
        "metricTransformations": [
            {
                "metricName": each["MetricName"],
                "metricNamespace": each["MetricNamespace"],
                "metricValue": str(each["MetricValue"]),
            }
            for each in properties["MetricTransformations"]
        ],
    }


def _lifecycle_hook(wanted: Wanted) -> Mapping[str, Any]:
    names = (
        "AutoScalingGroupName",
        "DefaultResult",
        "HeartbeatTimeout",
        "LifecycleTransition",
        "NotificationMetadata",
        "NotificationTargetARN",
        "RoleARN",
    )
    name = wanted.properties.get("LifecycleHookName", wanted.name)
    return {**_given(*names)(wanted), "LifecycleHookName": name}


def _document(wanted: Wanted) -> Mapping[str, Any]:
    content = wanted.properties["Content"]
    return {
        **_given("DocumentType", "TargetType")(wanted),
        "Name": wanted.properties.get("Name", wanted.name),
        # A template may write it as it is, not as text, which is all that moto takes.
        "Content": content if isinstance(content, str) else json.dumps(content),
        "DocumentFormat": wanted.properties.get("DocumentFormat", "JSON"),
    }


def _scaling_policy(wanted: Wanted) -> Mapping[str, Any]:
    # The policy's name is CloudFormation's to give.
    return {**wanted.properties, "PolicyName": wanted.properties.get("PolicyName", wanted.name)}


def _policy_arn(wanted: Wanted, _answer: Any) -> str:
    # moto leaves it out of the answer.
    group = wanted.properties["AutoScalingGroupName"]
    place = f"arn:aws:autoscaling:{wanted.region}:{wanted.account_id}:scalingPolicy"
    return f"{place}:{uuid.uuid4()}:autoScalingGroupName/{group}:policyName/{wanted.name}"


_CALLS: Mapping[str, _Call] = MappingProxyType(
    {
        "AWS::AutoScaling::LifecycleHook": _Call("autoscaling", "put_lifecycle_hook", _lifecycle_hook),
        "AWS::AutoScaling::ScalingPolicy": _Call(
            "autoscaling", "put_scaling_policy", _scaling_policy, _policy_arn
        ),
        "AWS::AutoScaling::WarmPool": _Call(
            "autoscaling",
            "put_warm_pool",
            _given(
                "AutoScalingGroupName",
                "InstanceReusePolicy",
                "MaxGroupPreparedCapacity",
                "MinSize",
                "PoolState",
            ),
        ),
        "AWS::CloudWatch::Alarm": _Call("cloudwatch", "put_metric_alarm", _alarm, _alarm_name),
        "AWS::CloudWatch::CompositeAlarm": _Call("cloudwatch", "put_composite_alarm", _alarm, _alarm_name),
        "AWS::EC2::EIPAssociation": _Call(
            "ec2",
            "associate_address",
            _given("AllocationId", "InstanceId", "NetworkInterfaceId"),
            lambda _, answer: answer["AssociationId"],
        ),
        "AWS::EC2::SecurityGroupEgress": _Call("ec2", "authorize_security_group_egress", _egress),
        "AWS::Lambda::EventInvokeConfig": _Call(
            "lambda",
            "put_function_event_invoke_config",
            _given(
                "DestinationConfig",
                "FunctionName",
                "MaximumEventAgeInSeconds",
                "MaximumRetryAttempts",
                "Qualifier",
            ),
        ),
        "AWS::Logs::MetricFilter": _Call("logs", "put_metric_filter", _metric_filter),
        "AWS::SSM::Document": _Call(
            "ssm", "create_document", _document, lambda _, answer: answer["DocumentDescription"]["Name"]
        ),
        "AWS::SNS::Subscription": _Call(
            "sns",
            "subscribe",
            _given("TopicArn", "Protocol", "Endpoint"),
            lambda _, answer: answer["SubscriptionArn"],
        ),
    }
)

TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {name: ResourceType(call.make, ("Arn",)) for name, call in _CALLS.items()}
)
