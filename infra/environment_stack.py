"""What every stack of an environment has in common: its name, place, tag and protection."""

from __future__ import annotations

from aws_cdk import Environment, Stack, Tags
from constructs import Construct

from infra.config import EnvironmentConfig


def stack_name(environment: str, part: str) -> str:
    """The stack that holds one part of an environment."""
    return f"livedub-{environment}-{part}"


class EnvironmentStack(Stack):
    """One part of one environment; a subclass adds what is in it and grants rights between its constructs."""

    def __init__(self, scope: Construct, part: str, *, config: EnvironmentConfig, holds: str) -> None:
        """Make it.

        Args:
            scope: the app.
            part: last word of its name, such as `media-cache`.
            config: of the environment.
            holds: what is in it, for the console.
        """
        name = stack_name(config.name, part)
        super().__init__(
            scope,
            name,
            stack_name=name,
            description=f"livedub: {holds} of environment {config.name}",
            env=Environment(account=config.account, region=config.region),
            termination_protection=config.stateful_resources_survive,
        )
        self.config = config
        Tags.of(self).add("livedub:environment", config.name)

    @property
    def metrics_namespace(self) -> str:
        """Of this environment's own metrics: environments may share an account."""
        return f"livedub/{self.config.name}"
