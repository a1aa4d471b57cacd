"""Tells an auto-scaling group that this host is drained and may be ended."""

from __future__ import annotations

from typing import Any

from livedub.supervision.aws_client import aws_errors


class LifecycleHook:
    """One lifecycle hook of one group."""

    def __init__(self, group: str, hook: str, client: Any) -> None:
        self._group = group
        self._hook = hook
        self._client = client

    def complete(self, instance_id: str) -> None:
        """Let the group go on.

        Raises:
            StoreUnavailableError: auto scaling did not answer, or no such action is waiting.
        """
        with aws_errors("Completing the lifecycle action"):
            self._client.complete_lifecycle_action(
                AutoScalingGroupName=self._group,
                LifecycleHookName=self._hook,
                InstanceId=instance_id,
                LifecycleActionResult="CONTINUE",
            )
