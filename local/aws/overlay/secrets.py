"""Secrets Manager: a new value is an event, as CloudTrail has it told."""

from __future__ import annotations

import time
from typing import Any

from local.aws.overlay.event_rules import put_event
from local.aws.overlay.patching import Patch
from local.aws.runtime import Runtime

_BACKEND = "moto.secretsmanager.models:SecretsManagerBackend"
_REASON = "moto tells nobody when a secret changes"


def patches(runtime: Runtime) -> list[Patch]:
    """The patches of Secrets Manager."""
    return [
        Patch(
            f"{_BACKEND}.put_secret_value",
            "9b3e948abda1",
            _REASON,
            lambda original: _told(original, "PutSecretValue", runtime),
        ),
        Patch(
            f"{_BACKEND}.update_secret",
            "9f076257784b",
            _REASON,
            lambda original: _told(original, "UpdateSecret", runtime),
        ),
    ]


def _told(original: Any, event_name: str, runtime: Runtime) -> Any:
    def changing(self: Any, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, secret_id, *args, **kwargs)
        account_id, region = self.account_id, self.region_name
        detail = {
            "eventVersion": "1.09",
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "eventSource": "secretsmanager.amazonaws.com",
            "eventName": event_name,
            "awsRegion": region,
            # As it was asked for: by name or by ARN. The value itself is in no trail.
            "requestParameters": {"secretId": secret_id},
            "responseElements": {"arn": self.secrets[secret_id].arn},
            "readOnly": False,
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": account_id,
            "eventCategory": "Management",
        }
        runtime.background.soon(
            lambda: put_event(
                account_id,
                region,
                source="aws.secretsmanager",
                kind="AWS API Call via CloudTrail",
                resource="",
                detail=detail,
            )
        )
        return answer

    return changing
