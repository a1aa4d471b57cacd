"""What a Lambda function is, apart from where it was deployed; and what came out of one call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_REGION = "us-east-1"
_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function, ready to run.

    Attributes:
        name: the function's name.
        handler: `module.function`, the module in `code_folder`.
        code_folder: the unpacked code (LAMBDA_TASK_ROOT).
        layer_folders: the unpacked layers, in the order of the function's configuration.
        environment: the function's own variables.
        timeout_s: after this long a call is given up and its process replaced.
        memory_mb: told to the function, not enforced.
        endpoint_url: becomes AWS_ENDPOINT_URL; empty for none.
    """

    name: str
    handler: str
    code_folder: Path
    layer_folders: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout_s: int = 3
    memory_mb: int = 128
    region: str = DEFAULT_REGION
    endpoint_url: str = ""

    @property
    def digest(self) -> str:
        """Changes with anything that a running environment could not follow."""
        content = json.dumps(
            [
                self.name,
                self.handler,
                str(self.code_folder),
                [str(layer) for layer in self.layer_folders],
                sorted(self.environment.items()),
                self.timeout_s,
                self.memory_mb,
                self.region,
                self.endpoint_url,
            ]
        )
        return hashlib.sha256(content.encode()).hexdigest()

    def variables(self, home: Path) -> dict[str, str]:
        """The whole environment of the function's processes: nothing of this machine's own gets in.

        Layers come before what the interpreter has installed, as in Lambda; a later layer before an earlier one,
        because Lambda unpacks it over the other.
        """
        layers = [str(layer / "python") for layer in reversed(self.layer_folders)]
        fixed = {
            "PATH": _PATH,
            "HOME": str(home),
            "TMPDIR": str(home),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": ":".join([str(self.code_folder), *layers]),
            "PYTHONNOUSERSITE": "1",
            "LAMBDA_TASK_ROOT": str(self.code_folder),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self.timeout_s),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            # moto checks no signature, but boto3 refuses to call without any key.
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            # What `sam local` sets as well: Powertools' tracer then looks for no X-Ray daemon.
            "AWS_SAM_LOCAL": "true",
        }
        if self.endpoint_url:
            fixed["AWS_ENDPOINT_URL"] = self.endpoint_url
        return {**self.environment, **fixed}


@dataclass(frozen=True, slots=True)
class InvokeResult:
    """What a call answered.

    Attributes:
        payload: JSON; of a failed call the object Lambda reports (errorType, errorMessage, ...).
        failed: the function raised, exited or ran out of time ("Unhandled" in Lambda's words).
        log: what the environment wrote since the call before.
        reusable: the environment can take another call.
    """

    payload: bytes
    failed: bool = False
    log: str = ""
    reusable: bool = True

    @classmethod
    def failure(cls, error_type: str, message: str, *, log: str = "", reusable: bool = False) -> InvokeResult:
        """A call that ended without an answer of the function."""
        body = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
        return cls(body, failed=True, log=log, reusable=reusable)
