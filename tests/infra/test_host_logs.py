"""Where hosts keep their journals, who may write there, and what watches how full they are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from livedub.host_logs.host_use import DISK, MEMORY, HostName, HostUse, use_event
from tests.infra.conftest import Part, Synthesized, given
from tests.infra.test_observability import ALARM, alarms_of, dashboard_text, metrics_of
from tests.infra.test_workers import CONTAINER, text_of, workers_of

HOSTS = {
    "media-host": ("media", "Host"),
    "worker-host": ("workers", "Fleet"),
    "media-cache-host": ("media-cache", "Host"),
}
"""Of `prod`: the part that a kind of host is in, and its construct there."""
WRITES = {"logs:CreateLogStream", "logs:PutLogEvents"}


def told(part: Part, construct: str) -> str:
    """Commands of an installation, or the script that a machine begins with."""
    scripts = [
        text_of(command)
        for association in part.of_type("AWS::SSM::Association").values()
        for command in association["Properties"]["Parameters"]["commands"]
    ]
    scripts += [
        text_of(template["Properties"]["LaunchTemplateData"]["UserData"])
        for template in part.of_type("AWS::EC2::LaunchTemplate").values()
        if f"/{construct}/" in template["Metadata"]["aws:cdk:path"]
    ]
    return "\n".join(scripts)


@pytest.mark.parametrize("service", HOSTS)
def test_every_kind_of_host_has_a_group_that_it_is_told_of(prod: Synthesized, service: str):
    part_name, construct = HOSTS[service]
    part = prod.part(part_name)
    group = part.properties(f"{construct}/Logs/Group")
    assert group["LogGroupName"] == f"/livedub/prod/{service}"
    script = told(part, construct)
    assert f"export LOG_SERVICE='{service}'" in script
    assert "export METRICS_NAMESPACE='livedub/prod'" in script
    assert re.search(r"export LOG_VOLUMES='/( /[\w/-]+)*'", script)
    group_id, _ = part.named(f"{construct}/Logs/Group")
    assert json.dumps({"Ref": group_id}) in json.dumps(part.template).partition("export LOG_GROUP='")[2][:80]


@pytest.mark.parametrize("service", HOSTS)
def test_a_host_writes_into_its_own_groups_and_reads_no_log(prod: Synthesized, service: str):
    part_name, construct = HOSTS[service]
    part = prod.part(part_name)
    own = {part.named(f"{construct}/{group}")[0] for group in ("Logs/Group", "Commands")}
    written: set[str] = set()
    for statement in part.statements(f"{construct}/Role"):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        logs = {action for action in actions if action.startswith("logs:")}
        assert logs <= WRITES | {"logs:DescribeLogGroups", "logs:DescribeLogStreams"}
        if logs & WRITES:
            resources = statement["Resource"]
            for resource in resources if isinstance(resources, list) else [resources]:
                written.add(resource["Fn::GetAtt"][0])
    assert written == own


def test_what_has_no_way_out_reaches_logs_by_an_endpoint(prod: Synthesized):
    endpoints = prod.part("network").of_type("AWS::EC2::VPCEndpoint").values()
    assert any(text_of(each["Properties"]["ServiceName"]).endswith(".logs") for each in endpoints)


def test_alarms_look_at_what_hosts_tell(prod: Synthesized):
    event = use_event(HostUse(1.0, "/", 2.0), HostName("i", "s", "livedub/prod"), timestamp_ms=1, unit="u")
    (directive,) = json.loads(event.message)["_aws"]["CloudWatchMetrics"]
    names = {metric["Name"] for metric in directive["Metrics"]}
    assert names == {DISK, MEMORY}
    alarms = alarms_of(prod)
    for service in HOSTS:
        for end, metric_name, statistic in (
            ("disk-full", DISK, "Maximum"),
            ("memory-full", MEMORY, "Maximum"),
            ("silent", DISK, "SampleCount"),
        ):
            alarm = alarms[f"{service}-{end}"]
            (metric,) = [one for one in metrics_of(alarm) if one["Namespace"] == directive["Namespace"]]
            assert metric["MetricName"] == metric_name
            assert metric["Dimensions"] == [{"Name": "service", "Value": service}]
            assert statistic in json.dumps(alarm)


def test_the_dashboard_draws_every_kind_of_host(prod: Synthesized):
    body = dashboard_text(prod.part("observability"))
    for service in HOSTS:
        for metric in (DISK, MEMORY):
            assert f'["livedub/prod","{metric}","service","{service}"' in body


@pytest.fixture(scope="module")
def with_gpu(sources: Any, tmp_path_factory: pytest.TempPathFactory) -> Part:
    config = given(
        "dev", sts_source="gpu_host", gpu_host_image="ami-0123456789abcdef3", gpu_host_container=CONTAINER
    )
    return workers_of(config, sources, tmp_path_factory.mktemp("gpu-logs"))


def test_the_gpu_host_does_as_the_others(with_gpu: Part):
    assert with_gpu.properties("GpuHost/Logs/Group")["LogGroupName"] == "/livedub/dev/gpu-host"
    script = told(with_gpu, "GpuHost")
    assert "export LOG_SERVICE='gpu-host'" in script
    assert "export LOG_VOLUMES='/ /var/lib/livedub-sts'" in script
    assert "export LIVEDUB_URL='" in script
    assert "export PACKAGES_URL='" in script


def test_no_group_of_an_environment_without_machines_is_watched(prod: Synthesized):
    """An alarm of a host that is not there would go off for ever."""
    assert not [name for name in alarms_of(prod) if name.startswith("gpu-host")]
    assert prod.part("observability").of_type(ALARM)


def test_the_page_that_names_the_groups_names_them_all():
    text = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    for service in (*HOSTS, "gpu-host"):
        assert f"/livedub/ENV/{service}" in text
