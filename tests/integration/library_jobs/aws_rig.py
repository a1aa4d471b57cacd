"""The state machine `media_job` on a local AWS, with its functions, its queue and the library's API."""

from __future__ import annotations

import io
import re
import sys
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.integration.library_jobs.rig import ROOT, Library, eventually, process
from tests.integration.local_aws.rig import Aws, name

DEFINITION = ROOT / "infra/statemachines/media_job.asl.json"
SECRET = "callback-secret-of-this-test"  # noqa: S105


@dataclass
class MediaJobs:
    """What tests need of it."""

    aws: Aws
    machine_arn: str
    queue_url: str
    environment: Mapping[str, str]

    def execution(self, job_id: uuid.UUID, submission: int = 1) -> str:
        return f"{self.machine_arn.replace(':stateMachine:', ':execution:')}:{job_id}-{submission}"

    def ended(self, job_id: uuid.UUID, submission: int = 1) -> dict[str, Any]:
        """The execution of a job's submission, once it has ended."""

        def seen() -> dict[str, Any] | None:
            found = self.aws.machines.describe_execution(executionArn=self.execution(job_id, submission))
            return found if found["status"] != "RUNNING" else None

        return eventually(seen, f"the end of the execution of {job_id}")

    def states(self, job_id: uuid.UUID, submission: int = 1) -> list[str]:
        pages = self.aws.machines.get_paginator("get_execution_history").paginate(
            executionArn=self.execution(job_id, submission)
        )
        events = [event for page in pages for event in page["events"]]
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in events
            if "stateEnteredEventDetails" in event
        ]


def media_jobs(library: Library, aws: Aws, **settings: str) -> MediaJobs:
    """All of it, of its own, on a local AWS."""
    queue_url = aws.queues.create_queue(QueueName=name("media-work"))["QueueUrl"]
    machine = name("media-job")
    machine_arn = f"arn:aws:states:us-east-1:123456789012:stateMachine:{machine}"
    api = name("library-api")
    environment = {
        **library.environment,
        "LIVEDUB_EXECUTOR": "stepfunctions",
        "LIBRARY_STATE_MACHINE_ARN": machine_arn,
        "LIBRARY_WORK_QUEUE_URL": queue_url,
        "LIBRARY_CALLBACK_SECRET": SECRET,
        "LIBRARY_CALLBACK_URL": f"{aws.endpoint}/_local/lambda/{api}",
        **settings,
    }
    _function(aws, "library_api", api, environment)
    placeholders = {
        f"MediaJob{each.title()}Arn": _function(aws, f"media_job_{each}", name(each), environment)
        for each in ("route", "run", "end")
    }
    placeholders["MediaWorkQueueUrl"] = queue_url
    definition = re.sub(r"\$\{(\w+)\}", lambda found: placeholders[found[1]], DEFINITION.read_text())
    made = aws.machines.create_state_machine(name=machine, definition=definition, roleArn=aws.role)
    assert made["stateMachineArn"] == machine_arn
    outside = {
        **environment,
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return MediaJobs(aws, machine_arn, queue_url, outside)


def _function(aws: Aws, folder: str, function_name: str, environment: Mapping[str, str]) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(ROOT / "functions" / folder / "handler.py", "handler.py")
    # The shared package comes with the interpreter; Lambda's own paths come before it.
    variables = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
    return aws.functions.create_function(
        FunctionName=function_name,
        Runtime="python3.11",
        Role=aws.role,
        Handler="handler.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=60,
        Environment={"Variables": variables},
    )["FunctionArn"]


def host_worker(library: Library, jobs: MediaJobs, *, label: str = "host", slots: int = 2):
    """A host that works for the state machine."""
    return process(
        label,
        [sys.executable, "-m", "media_edge.library", "host"],
        {**jobs.environment, **library.settings, "LIBRARY_JOB_SLOTS": str(slots)},
        library.folder,
    )
