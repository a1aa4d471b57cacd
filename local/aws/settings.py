"""Settings of the local AWS."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.errors import MissingPrerequisiteError

ROOT = Path(__file__).parents[2]


class LocalAwsSettings(BaseSettings):
    """LIVEDUB_LOCAL_AWS_*; the command line wins."""

    model_config = SettingsConfigDict(env_prefix="LIVEDUB_LOCAL_AWS_", populate_by_name=True)

    port: int = Field(default=5601, ge=0, le=65535, description="TCP port on 127.0.0.1; 0 takes a free one")
    lambda_emulator: Path = Field(
        default=ROOT / ".tools" / "aws-lambda-rie",
        validation_alias="LIVEDUB_LAMBDA_EMULATOR",
        description="the aws-lambda-rie program",
    )
    environments_per_function: int = Field(
        default=4, ge=1, le=64, description="calls of one function that may run at once"
    )
    function_patience_s: float = Field(
        default=20.0, gt=0, le=300, description="how long a call waits for a free environment (then 429)"
    )
    schedule_speed: float = Field(
        default=1.0, gt=0, le=10_000, description="schedules and retries run this many times faster"
    )

    def require_emulator(self) -> Path:
        """The emulator's absolute path.

        Raises:
            MissingPrerequisiteError: it is not there.
        """
        path = self.lambda_emulator.resolve()
        if not path.is_file():
            raise MissingPrerequisiteError(
                f"LIVEDUB_LAMBDA_EMULATOR: {path} does not exist.", remedy="Run make setup, or give its path."
            )
        return path
