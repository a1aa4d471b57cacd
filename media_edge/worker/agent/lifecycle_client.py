"""What a host tells its auto-scaling group: that it has work, that it still drains, that it may come or go."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from livedub.supervision.aws_client import aws_errors, error_code
from media_edge.worker.agent.ports import GroupRefusedError


class ScalingGroup:
    """The group as seen by one of its instances.

    Every method raises StoreUnavailableError where auto scaling does not answer, GroupRefusedError where it refuses.

    Args:
        group: its name.
        instance_id: asks for the id of this instance.
        client: of auto scaling.
    """

    def __init__(self, group: str, instance_id: Callable[[], str], client: Any) -> None:
        self._group = group
        self._instance_id = instance_id
        self._client = client

    def protect(self, *, protected: bool) -> None:
        """Keep this instance when the group gets smaller, or no longer."""
        with _asking("Setting the scale-in protection"):
            self._client.set_instance_protection(
                AutoScalingGroupName=self._group,
                InstanceIds=[self._instance_id()],
                ProtectedFromScaleIn=protected,
            )

    def beat(self, hook: str) -> None:
        """The action that waits for this instance gets its whole time once more."""
        with _asking("Keeping the lifecycle action waiting"):
            self._client.record_lifecycle_action_heartbeat(
                AutoScalingGroupName=self._group, LifecycleHookName=hook, InstanceId=self._instance_id()
            )

    def complete(self, hook: str) -> None:
        """Let the group go on."""
        with _asking("Completing the lifecycle action"):
            self._client.complete_lifecycle_action(
                AutoScalingGroupName=self._group,
                LifecycleHookName=hook,
                InstanceId=self._instance_id(),
                LifecycleActionResult="CONTINUE",
            )


@contextmanager
def _asking(doing: str) -> Generator[None]:
    with aws_errors(doing):
        try:
            yield
        except ClientError as error:
            if error_code(error) == "ValidationError":
                raise GroupRefusedError(f"{doing} is refused: {error}.") from error
            raise
