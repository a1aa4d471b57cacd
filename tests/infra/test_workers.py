"""The stack of worker hosts as it would be deployed: who may what, how many there are, how they come and go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.conftest import Part, Synthesized, given

if TYPE_CHECKING:
    from infra.config import EnvironmentConfig
    from infra.sources import Sources

CONTAINER = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/livedub/sts@sha256:" + "a" * 64


def workers_of(config: EnvironmentConfig, sources: Sources, folder: Path) -> Part:
    """The stack of `config` with those it needs, and no others: synthesis takes its time."""
    from infra.app import build_control_plane  # noqa: PLC0415 - starts node
    from infra.stacks.workers import WorkersStack  # noqa: PLC0415

    base = build_control_plane(config, outdir=folder, sources=sources)
    WorkersStack(
        base.app,
        config=config,
        network=base.network,
        state=base.state,
        control_plane=base.control_plane,
        sources=sources,
    )
    base.app.synth()
    return Synthesized(config.name, folder).part("workers")


@pytest.fixture(scope="module")
def workers(prod: Synthesized) -> Part:
    return prod.part("workers")


@pytest.fixture(scope="module")
def with_gpu(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Part:
    config = given(
        "dev", sts_source="gpu_host", gpu_host_image="ami-0123456789abcdef3", gpu_host_container=CONTAINER
    )
    config = replace(config, workers=replace(config.workers, keeps="recordings"))
    return workers_of(config, sources, tmp_path_factory.mktemp("gpu"))


@pytest.fixture(scope="module")
def group(workers: Part) -> dict[str, Any]:
    (found,) = workers.of_type("AWS::AutoScaling::AutoScalingGroup").values()
    return found


@pytest.fixture(scope="module")
def template(workers: Part) -> dict[str, Any]:
    (found,) = workers.of_type("AWS::EC2::LaunchTemplate").values()
    return found["Properties"]["LaunchTemplateData"]


def text_of(value: Any) -> str:
    """A joined text, with what is not known yet left out."""
    if isinstance(value, dict) and "Fn::Base64" in value:
        return text_of(value["Fn::Base64"])
    if isinstance(value, dict) and "Fn::Join" in value:
        return "".join(text_of(part) for part in value["Fn::Join"][1])
    if isinstance(value, dict) and "Fn::Sub" in value:
        return str(value["Fn::Sub"])
    return value if isinstance(value, str) else "?"


def parameters(part: Part) -> dict[str, Any]:
    return {
        found["Properties"]["Name"]: found["Properties"]["Value"]
        for found in part.of_type("AWS::SSM::Parameter").values()
    }


class TestHosts:
    def test_have_sessions_for_metadata_and_encrypted_disks(self, template: dict[str, Any]):
        assert template["MetadataOptions"]["HttpTokens"] == "required"
        assert template["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        (disk,) = template["BlockDeviceMappings"]
        assert (disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"]) == (True, "gp3")
        assert "KeyName" not in template

    def test_are_in_the_private_subnets_behind_the_workers_door(
        self, prod: Synthesized, template: dict[str, Any], group: dict[str, Any]
    ):
        (door,) = template["SecurityGroupIds"]
        assert prod.origin("workers", door)[0] == "network"
        subnets = [prod.origin("workers", subnet) for subnet in group["Properties"]["VPCZoneIdentifier"]]
        made = prod.part("network").resources
        assert [made[where["Ref"]]["Properties"]["MapPublicIpOnLaunch"] for _, where in subnets] == [
            False,
            False,
        ]
        names = [
            tag["Value"]
            for _, where in subnets
            for tag in made[where["Ref"]]["Properties"]["Tags"]
            if tag["Key"] == "aws-cdk:subnet-name"
        ]
        assert names == ["private", "private"]

    def test_install_a_release_and_are_told_no_secret(self, template: dict[str, Any]):
        script = text_of(template["UserData"])
        assert len(script.encode()) < 12_000
        for expected in ("WHEEL_URL", "PACKAGES_URL", "NAMESPACE='livedub/prod'", "install_ssm_agent"):
            assert expected in script
        assert "resolve:secretsmanager" not in script
        assert "latest" not in script.lower()

    def test_other_settings_are_another_launch_template(self, workers: Part, prod: Synthesized):
        template = json.dumps(workers.of_type("AWS::EC2::LaunchTemplate"))
        assert "SETTINGS_ID" in template
        (group,) = workers.of_type("AWS::AutoScaling::AutoScalingGroup").values()
        version = group["Properties"]["LaunchTemplate"]["Version"]
        assert version["Fn::GetAtt"][1] == "LatestVersionNumber"

    def test_read_what_they_start_with_before_the_first_of_them_boots(
        self, workers: Part, group: dict[str, Any]
    ):
        assert {
            name
            for name, found in workers.of_type("AWS::SSM::Parameter").items()
            if found["Properties"]["Name"].startswith("/livedub/prod/workers/")
        } <= set(group["DependsOn"])
        assert any(name in group["DependsOn"] for name in workers.of_type("AWS::IAM::Policy"))


class TestSettings:
    def test_are_variables_that_the_agent_knows(self, workers: Part):
        from livedub.library.library_settings import LibrarySettings  # noqa: PLC0415
        from livedub.settings import variables  # noqa: PLC0415
        from livedub.supervision.policy import SupervisionPolicy  # noqa: PLC0415
        from media_edge.worker.agent.settings import AgentSettings  # noqa: PLC0415
        from media_edge.worker.settings import WorkerSettings  # noqa: PLC0415

        known = {
            variable.name
            for settings in (AgentSettings, WorkerSettings, SupervisionPolicy, LibrarySettings)
            for variable in variables(settings)
        }
        told = {
            name.rpartition("/")[2]
            for name in parameters(workers)
            if name.startswith("/livedub/prod/workers/")
        }
        assert told <= known
        required = {
            "AGENT_WORK_QUEUE_URL",
            "AGENT_STREAMS_TABLE",
            "AGENT_LIBRARY_SPOOL",
            "AGENT_LIFECYCLE_GROUP",
            "AGENT_LIFECYCLE_HOOK",
            "AGENT_LIFECYCLE_LAUNCH_HOOK",
            "AGENT_LOAD_NAMESPACE",
            "AGENT_SHARED_PARAMETERS",
            "AGENT_SHARED_SECRETS",
            "S3_BUCKET_IN",
        }
        assert required <= told

    def test_the_agent_can_be_built_of_them(self, workers: Part):
        from media_edge.worker.agent.settings import AgentSettings  # noqa: PLC0415

        told: dict[str, Any] = {
            name.rpartition("/AGENT_")[2].lower(): text_of(value)
            for name, value in parameters(workers).items()
            if "/AGENT_" in name
        }
        settings = AgentSettings(**told)
        assert settings.lifecycle_group == "livedub-prod-workers"
        assert str(settings.library_spool) == "/var/lib/livedub/spool"
        assert (settings.library_records, settings.library_free_mb) == (False, 5 * 1_024)
        assert settings.shared_sources.parameters == ("/livedub/prod/sts", "/livedub/prod/voice")

    def test_what_streams_leave_goes_to_the_bucket_of_what_comes_in(self, prod: Synthesized, workers: Part):
        bucket = parameters(workers)["/livedub/prod/workers/S3_BUCKET_IN"]
        part, made = prod.origin("workers", bucket)
        assert (part, made) == ("state", {"Ref": prod.part("state").named("Media/In")[0]})

    def test_the_service_is_a_parameter_that_running_hosts_follow(self, workers: Part):
        told = parameters(workers)
        assert told["/livedub/prod/sts/STS_SERVICE_URL"] == "runpod://abcdef123456"
        assert told["/livedub/prod/sts/RUNPOD_ENDPOINT_ID"] == "abcdef123456"


class TestRights:
    def actions(self, workers: Part) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for statement in workers.statements("Fleet/Role"):
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                resources = statement["Resource"]
                found.setdefault(action, []).extend(resources if isinstance(resources, list) else [resources])
        return found

    def test_a_host_may_what_its_agent_does_and_no_more(self, workers: Part):
        own = {
            action
            for action in self.actions(workers)
            if not action.startswith(("ssm:", "ssmmessages:", "ec2messages:", "logs:"))
        }
        assert own == {
            "autoscaling:CompleteLifecycleAction",
            "autoscaling:RecordLifecycleActionHeartbeat",
            "autoscaling:SetInstanceProtection",
            "cloudwatch:PutMetricData",
            "dynamodb:BatchGetItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "s3:GetObject",
            "s3:ListBucketMultipartUploads",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
            "secretsmanager:GetSecretValue",
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:ReceiveMessage",
            "states:SendTaskHeartbeat",
            "states:SendTaskSuccess",
        }

    def test_it_reads_three_paths_of_parameters(self, workers: Part):
        paths = [text_of(found) for found in self.actions(workers)["ssm:GetParametersByPath"]]
        assert sorted(path.rpartition("parameter/")[2] for path in paths) == [
            "livedub/prod/sts",
            "livedub/prod/voice",
            "livedub/prod/workers",
        ]
        assert "ssm:GetParameter" not in self.actions(workers)

    def test_it_leaves_files_below_one_prefix_and_reads_none(self, prod: Synthesized, workers: Part):
        state = prod.part("state")
        bucket = {"Fn::GetAtt": [state.named("Media/In")[0], "Arn"]}
        actions = self.actions(workers)
        for action in ("s3:PutObject", "s3:ListMultipartUploadParts"):
            (resource,) = actions[action]
            arn, below = resource["Fn::Join"][1]
            assert (prod.origin("workers", arn), below) == (("state", bucket), "/live/*")
        (listed,) = actions["s3:ListBucketMultipartUploads"]
        assert prod.origin("workers", listed) == ("state", bucket)
        assert "live" not in json.dumps([text_of(found) for found in actions["s3:GetObject"]])

    def test_metrics_go_into_one_namespace(self, workers: Part):
        (statement,) = [
            found
            for found in workers.statements("Fleet/Role")
            if "cloudwatch:PutMetricData" in found["Action"]
        ]
        assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "livedub/prod"}}


class TestComingAndGoing:
    def test_the_group_waits_for_the_agent_both_ways(self, group: dict[str, Any]):
        hooks = {
            hook["LifecycleHookName"]: (hook["LifecycleTransition"], hook["DefaultResult"])
            for hook in group["Properties"]["LifecycleHookSpecificationList"]
        }
        assert hooks == {
            "ready": ("autoscaling:EC2_INSTANCE_LAUNCHING", "ABANDON"),
            "drain": ("autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE"),
        }

    def test_the_drain_hook_outlives_several_heartbeats(self, group: dict[str, Any]):
        from media_edge.worker.agent.settings import AgentSettings  # noqa: PLC0415

        beat_s = AgentSettings.model_fields["lifecycle_beat_s"].default
        (drain,) = [
            hook
            for hook in group["Properties"]["LifecycleHookSpecificationList"]
            if hook["LifecycleHookName"] == "drain"
        ]
        assert drain["HeartbeatTimeout"] >= 4 * beat_s

    def test_a_deployment_replaces_idle_hosts_a_new_one_first(self, group: dict[str, Any]):
        refresh = group["UpdatePolicy"]["AutoScalingInstanceRefresh"]
        assert refresh["Strategy"] == "Rolling"
        assert refresh["Preferences"] == {
            "MinHealthyPercentage": 100,
            "MaxHealthyPercentage": 200,
            "ScaleInProtectedInstances": "Ignore",
            "SkipMatching": True,
        }

    def test_a_deployment_does_not_undo_scaling(self, group: dict[str, Any]):
        assert "DesiredCapacity" not in group["Properties"]

    def alarms(self, workers: Part) -> dict[str, dict[str, Any]]:
        return {
            name: found["Properties"] for name, found in workers.of_type("AWS::CloudWatch::Alarm").items()
        }

    def policy_of(self, workers: Part, alarm: dict[str, Any]) -> list[dict[str, Any]]:
        (action,) = alarm["AlarmActions"]
        return workers.resources[action["Ref"]]["Properties"]["StepAdjustments"]

    def test_waiting_streams_bring_hosts(self, prod: Synthesized, workers: Part):
        (alarm,) = [found for found in self.alarms(workers).values() if found.get("MetricName")]
        assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert prod.origin("workers", alarm["Dimensions"][0]["Value"])[0] == "control-plane"
        assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (1, 1)
        steps = self.policy_of(workers, alarm)
        assert [step["ScalingAdjustment"] for step in steps] == [1, 3, 6]
        bounds = [step.get("MetricIntervalLowerBound") for step in steps]
        assert bounds[0] == 0
        assert [step.get("MetricIntervalUpperBound") for step in steps][:-1] == bounds[1:]

    @pytest.mark.parametrize(
        ("expression", "adjustment"),
        [
            ("IF(free * hosts < 0.99, 1, 0)", 1),
            ("IF(idle * hosts >= 0.99 AND free * hosts >= 4.99, 1, 0)", -1),
        ],
    )
    def test_slots_bring_hosts_and_take_them(self, workers: Part, expression: str, adjustment: int):
        (alarm,) = [
            found
            for found in self.alarms(workers).values()
            if any(query.get("Expression") == expression for query in found.get("Metrics", []))
        ]
        (step,) = self.policy_of(workers, alarm)
        assert step["ScalingAdjustment"] == adjustment
        assert alarm["TreatMissingData"] == "notBreaching"
        if adjustment < 0:
            assert alarm["EvaluationPeriods"] == alarm["DatapointsToAlarm"] == 15

    def test_hosts_in_service_are_counted(self, group: dict[str, Any]):
        (collection,) = group["Properties"]["MetricsCollection"]
        assert "GroupInServiceInstances" in collection["Metrics"]


@pytest.fixture(scope="module")
def otherwise(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Part:
    """With what is not as set: occasions, a refresh of all, nothing kept."""
    from infra.workers_config import Occasion  # noqa: PLC0415

    config = given("dev")
    occasions = (Occasion("Match", "30 18 * * SAT", 3, "Europe/Madrid"), Occasion("After", "0 23 * * SAT", 1))
    workers = replace(config.workers, occasions=occasions, refresh="all", keeps="nothing")
    return workers_of(replace(config, workers=workers), sources, tmp_path_factory.mktemp("otherwise"))


def test_occasions_are_scheduled_and_streams_moved_where_that_is_wanted(otherwise: Part):
    scheduled = otherwise.of_type("AWS::AutoScaling::ScheduledAction").values()
    actions = [found["Properties"] for found in scheduled]
    assert {(a["Recurrence"], a["MinSize"], a["TimeZone"]) for a in actions} == {
        ("30 18 * * SAT", 3, "Europe/Madrid"),
        ("0 23 * * SAT", 1, "Etc/UTC"),
    }
    (group,) = otherwise.of_type("AWS::AutoScaling::AutoScalingGroup").values()
    preferences = group["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]
    assert preferences["ScaleInProtectedInstances"] == "Refresh"


def test_a_host_that_keeps_nothing_may_write_nothing(otherwise: Part):
    assert not [name for name in parameters(otherwise) if "LIBRARY" in name or "S3_" in name]
    assert "s3:PutObject" not in json.dumps(otherwise.statements("Fleet/Role"))


def test_recordings_are_kept_where_that_is_wanted(with_gpu: Part):
    assert parameters(with_gpu)["/livedub/dev/workers/AGENT_LIBRARY_RECORDS"] == "true"


class TestGpuHost:
    def test_serves_worker_hosts_alone(self, with_gpu: Part):
        (door,) = with_gpu.of_type("AWS::EC2::SecurityGroup")
        openings = with_gpu.of_type("AWS::EC2::SecurityGroupIngress").values()
        (opening,) = (each for each in openings if "Fn::GetAtt" in each["Properties"]["GroupId"])
        assert opening["Properties"]["GroupId"] == {"Fn::GetAtt": [door, "GroupId"]}
        assert (opening["Properties"]["FromPort"], opening["Properties"]["ToPort"]) == (8000, 8000)
        assert "SourceSecurityGroupId" in opening["Properties"]
        assert "SecurityGroupIngress" not in with_gpu.resources[door]["Properties"]

    def test_reaches_systems_manager_by_the_endpoints_that_its_names_lead_to(self, with_gpu: Part):
        (door,) = with_gpu.of_type("AWS::EC2::SecurityGroup")
        openings = with_gpu.of_type("AWS::EC2::SecurityGroupIngress").values()
        (opening,) = (
            each["Properties"] for each in openings if "Fn::ImportValue" in each["Properties"]["GroupId"]
        )
        assert "Endpoints" in opening["GroupId"]["Fn::ImportValue"]
        assert opening["SourceSecurityGroupId"] == {"Fn::GetAtt": [door, "GroupId"]}
        assert (opening["FromPort"], opening["ToPort"]) == (443, 443)

    def test_is_a_g5_with_its_models_on_a_volume_of_their_own(self, with_gpu: Part):
        (machine,) = with_gpu.of_type("AWS::EC2::Instance").values()
        assert machine["Properties"]["InstanceType"] == "g5.xlarge"
        assert machine["Properties"]["PrivateIpAddress"] == "10.0.16.30"
        (volume,) = with_gpu.of_type("AWS::EC2::Volume").values()
        assert volume["Properties"]["Encrypted"] is True
        assert volume["Properties"]["VolumeType"] == "gp3"
        assert len(machine["Properties"]["Volumes"]) == 1
        assert "mount_volume" in text_of(machine["Properties"]["UserData"])

    def test_runs_one_container_by_its_digest(self, with_gpu: Part):
        (association,) = with_gpu.of_type("AWS::SSM::Association").values()
        commands = "\n".join(
            text_of(command) for command in association["Properties"]["Parameters"]["commands"]
        )
        assert f"CONTAINER='{CONTAINER}'" in commands

    def test_takes_the_place_of_runpod(self, with_gpu: Part):
        told = parameters(with_gpu)
        assert told["/livedub/dev/sts/STS_SERVICE_URL"] == "http://10.0.16.30:8000"
        assert "/livedub/dev/sts/RUNPOD_ENDPOINT_ID" not in told
        assert with_gpu.of_type("AWS::Lambda::Function") == {}

    def test_pulls_from_its_repository_alone(self, with_gpu: Part):
        resources = {
            str(statement["Action"]): text_of(statement["Resource"])
            for statement in with_gpu.statements("GpuHost/Role")
            if "ecr:" in str(statement["Action"])
        }
        (pull,) = [found for action, found in resources.items() if "BatchGetImage" in action]
        assert pull.endswith(":ecr:eu-west-1:123456789012:repository/livedub/sts")


def test_a_stream_that_begins_warms_runpod_up(workers: Part):
    assert len(workers.of_type("AWS::Lambda::Function")) == 1
    assert len(workers.of_type("AWS::Events::Rule")) == 1
