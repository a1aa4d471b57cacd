"""What an environment costs in a month in which nobody streams, counted in its synthesized templates.

From the templates, not from a second list of what is deployed: a resource that somebody adds is either priced here, or
known to cost nothing by itself, or named as not counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.cost_lines import HOURS_PER_MONTH, Line, Prices

Template = Mapping[str, Any]
Properties = Mapping[str, Any]
_Counted = Iterator[tuple[str, float, str]]
"""Item, quantity, price."""

_DETAILED_METRICS = 7
"""That detailed monitoring of an instance adds."""
_EMPTY_SHARE = 0.02
"""Of a volume that nothing is stored on: inode tables and journal of ext4, which its snapshots hold."""
_MINUTES = {"minute": 1, "minutes": 1, "hour": 60, "hours": 60, "day": 1_440, "days": 1_440}
_MINUTES_PER_MONTH = HOURS_PER_MONTH * 60


@dataclass(frozen=True, slots=True)
class IdleUse:
    """What is used although nobody streams. Assumptions; change them where yours differ.

    Attributes:
        relay_report_period_s: RELAY_REPORT_PERIOD_S, of one media server.
        call_s: length of a function's call that finds nothing to do.
        function_memory_gb: of a function.
        log_bytes_per_call: what a call writes, START, END and REPORT included.
        log_bytes_per_host_minute: what a host's journal sends, most of it how full the host is.
        custom_metrics: that the functions and hosts keep up, a month long.
    """

    relay_report_period_s: float = 10.0
    call_s: float = 0.1
    function_memory_gb: float = 0.5
    log_bytes_per_call: int = 1_500
    log_bytes_per_host_minute: int = 1_500
    custom_metrics: int = 36


BY_USE = frozenset(
    {
        "AWS::ApiGatewayV2::Api",
        "AWS::DynamoDB::Table",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::StepFunctions::StateMachine",
    }
)
"""Cost by the request or by what lies in them; in lines of their own below where that is not next to nothing."""

FREE = frozenset(
    {
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::AutoScaling::LifecycleHook",
        "AWS::AutoScaling::ScalingPolicy",
        "AWS::AutoScaling::ScheduledAction",
        "AWS::CDK::Metadata",
        "AWS::EC2::EIPAssociation",
        "AWS::EC2::FlowLog",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::NetworkInterface",
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Logs::MetricFilter",
        "AWS::RDS::DBParameterGroup",
        "AWS::RDS::DBSubnetGroup",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::Subscription",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::SSM::Association",
        "AWS::SSM::Document",
        "AWS::SSM::Parameter",
        "AWS::SecretsManager::ResourcePolicy",
        "AWS::SecretsManager::SecretTargetAttachment",
    }
)


@dataclass(frozen=True, slots=True)
class IdleMonth:
    """Lines by part, and the resource types that nothing here knows."""

    lines: list[Line]
    not_counted: list[str]


def idle_month(templates: Mapping[str, Template], prices: Prices, use: IdleUse | None = None) -> IdleMonth:
    """Count `templates`, by part.

    Raises:
        ConfigurationError: something has no price.
    """
    lines: list[Line] = []
    unknown: set[str] = set()
    relays = 0
    for part, template in templates.items():
        merged: dict[tuple[str, str], float] = {}
        for resource in template["Resources"].values():
            kind = resource["Type"]
            if kind in _COUNTED:
                for item, quantity, price in _COUNTED[kind](resource.get("Properties", {}), template):
                    merged[item, price] = merged.get((item, price), 0.0) + quantity
            elif kind not in FREE | BY_USE:
                unknown.add(kind)
            relays += kind == "AWS::EC2::EIP" and part == "media"
        lines += [prices.line(part, item, quantity, price) for (item, price), quantity in merged.items()]
    lines += _in_use(templates, prices, use or IdleUse(), relays)
    return IdleMonth(lines, sorted(unknown))


def _instance(properties: Properties, _template: Template) -> _Counted:
    yield f"instance {properties['InstanceType']}", HOURS_PER_MONTH, f"ec2.{properties['InstanceType']}"
    yield from _disks(properties)
    if properties.get("Monitoring"):
        yield "detailed monitoring of instances", _DETAILED_METRICS, "cloudwatch.metric"


def _group(properties: Properties, template: Template) -> _Counted:
    """Hosts that an auto-scaling group keeps when there is nothing to do, and the stopped ones of its warm pool."""
    launched = _launch_template(properties, template)
    size = float(properties.get("MinSize", 0))
    if size:
        yield (
            f"instance {launched['InstanceType']}, least number",
            size * HOURS_PER_MONTH,
            f"ec2.{launched['InstanceType']}",
        )
        yield from ((item, size * gb, price) for item, gb, price in _disks(launched))
        if launched.get("Monitoring", {}).get("Enabled"):
            yield "detailed monitoring of instances", size * _DETAILED_METRICS, "cloudwatch.metric"


def _warm_pool(properties: Properties, template: Template) -> _Counted:
    group = template["Resources"][properties["AutoScalingGroupName"]["Ref"]]["Properties"]
    stopped = float(properties.get("MinSize", 0))
    launched = _launch_template(group, template)
    yield from ((f"{item}, stopped hosts", stopped * gb, price) for item, gb, price in _disks(launched))


def _launch_template(group: Properties, template: Template) -> Properties:
    chosen = (
        group.get("LaunchTemplate")
        or (group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"])
    )
    return template["Resources"][chosen["LaunchTemplateId"]["Ref"]]["Properties"]["LaunchTemplateData"]


def _disks(properties: Properties) -> _Counted:
    for disk in properties.get("BlockDeviceMappings", []):
        yield "disks of instances", float(disk["Ebs"]["VolumeSize"]), "ebs.gp3"


def _volume(properties: Properties, _template: Template) -> _Counted:
    yield "volumes", float(properties["Size"]), f"ebs.{properties['VolumeType']}"


def _snapshots(properties: Properties, template: Template) -> _Counted:
    """Of volumes that nothing is stored on; what is written each day is by use."""
    tags = properties["PolicyDetails"]["TargetTags"]
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::EC2::Volume" and any(
            tag in tags for tag in resource["Properties"].get("Tags", [])
        ):
            yield "snapshots of volumes", _EMPTY_SHARE * float(resource["Properties"]["Size"]), "ebs.snapshot"


def _endpoint(properties: Properties, _template: Template) -> _Counted:
    if properties["VpcEndpointType"] == "Interface":
        zones = len(properties["SubnetIds"])
        yield "interface endpoints", zones * HOURS_PER_MONTH, "vpc.interface_endpoint"


def _database(properties: Properties, _template: Template) -> _Counted:
    copies = 2 if properties.get("MultiAZ") else 1
    class_ = properties["DBInstanceClass"].removeprefix("db.")
    yield f"Postgres {class_}", copies * HOURS_PER_MONTH, f"rds.postgres.{class_}"
    yield "storage of Postgres", copies * float(properties["AllocatedStorage"]), "rds.gp3"


def _alarm(properties: Properties, _template: Template) -> _Counted:
    metrics = sum("MetricStat" in metric for metric in properties.get("Metrics", [])) or 1
    yield "alarms, by metric", metrics, "cloudwatch.alarm_metric"


def _each(item: str, quantity: float, price: str) -> Callable[[Properties, Template], _Counted]:
    def counted(_properties: Properties, _template: Template) -> _Counted:
        yield item, quantity, price

    return counted


def _rule(properties: Properties, _template: Template) -> _Counted:
    """Calls of a schedule; what they cost together stands in one line."""
    calls = calls_per_month(str(properties.get("ScheduleExpression", "")))
    if calls:
        yield "requests of functions by schedule", calls, "lambda.request"


_COUNTED: Mapping[str, Callable[[Properties, Template], _Counted]] = {
    "AWS::AutoScaling::AutoScalingGroup": _group,
    "AWS::AutoScaling::WarmPool": _warm_pool,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _each("composite alarms", 1, "cloudwatch.composite_alarm"),
    "AWS::CloudWatch::Dashboard": _each("dashboards", 1, "cloudwatch.dashboard"),
    "AWS::DLM::LifecyclePolicy": _snapshots,
    "AWS::EC2::EIP": _each("public IPv4 addresses", HOURS_PER_MONTH, "ec2.public_ipv4"),
    "AWS::EC2::Instance": _instance,
    "AWS::EC2::NatGateway": _each("NAT gateways", HOURS_PER_MONTH, "vpc.nat_gateway"),
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::EC2::Volume": _volume,
    "AWS::Events::Rule": _rule,
    "AWS::RDS::DBInstance": _database,
    "AWS::SecretsManager::Secret": _each("secrets", 1, "secret"),
}


def calls_per_month(schedule: str) -> float:
    """How often `rate(...)` calls in a month; 0 for an empty schedule, once a day for a cron expression."""
    found = re.fullmatch(r"rate\((\d+) (\w+)\)", schedule)
    if found:
        return _MINUTES_PER_MONTH / (int(found[1]) * _MINUTES[found[2]])
    return HOURS_PER_MONTH / 24 if schedule else 0.0


def _in_use(templates: Mapping[str, Template], prices: Prices, use: IdleUse, relays: int) -> Iterator[Line]:
    scheduled = sum(
        calls_per_month(str(resource["Properties"].get("ScheduleExpression", "")))
        for template in templates.values()
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Events::Rule"
    )
    reports = relays * HOURS_PER_MONTH * 3_600 / use.relay_report_period_s
    calls = scheduled + reports
    part = "in use"
    if reports:
        yield prices.line(part, "path lists of relays: API", reports, "api.request")
        yield prices.line(part, "path lists of relays: functions", reports, "lambda.request")
        # One nonce and one list each, an item up to 1 KB.
        yield prices.line(part, "path lists of relays: tables", 2 * reports, "dynamodb.write")
    gb_s = calls * use.call_s * use.function_memory_gb
    yield prices.line(part, "functions' time", gb_s, "lambda.compute")
    yield prices.line(part, "functions' logs", calls * use.log_bytes_per_call / 1e9, "logs.ingestion")
    hosts = sum(
        float(resource["Properties"].get("MinSize", 0))
        if resource["Type"] == "AWS::AutoScaling::AutoScalingGroup"
        else resource["Type"] == "AWS::EC2::Instance"
        for template in templates.values()
        for resource in template["Resources"].values()
    )
    host_log_bytes = hosts * _MINUTES_PER_MONTH * use.log_bytes_per_host_minute
    yield prices.line(part, "hosts' logs", host_log_bytes / 1e9, "logs.ingestion")
    yield prices.line(part, "metrics of our own", use.custom_metrics, "cloudwatch.metric")
