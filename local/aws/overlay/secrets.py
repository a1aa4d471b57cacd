"""Secrets Manager: a new value is an event, as CloudTrail has it told."""

from __future__ import annotations

import time
from typing import Any

from local.aws.overlay.event_rules import put_event
from local.aws.overlay.patching import Patch
from local.aws.runtime import Runtime

_BACKEND = "moto.secretsmanager.models:SecretsManagerBackend"
_REASON = "moto tells nobody when a secret changes"
_MOVED = ("AWSCURRENT", "AWSPREVIOUS")
"""Labels that go from version to version by themselves."""


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
        Patch(
            "moto.secretsmanager.models:FakeSecret.reset_default_version",
            "feb1424cea8c",
            "moto takes every staging label from a version that is no longer the current one",
            _keeping_labels,
        ),
    ]


def _keeping_labels(original: Any) -> Any:
    def reset_default_version(self: Any, secret_version: dict[str, Any], version_id: str) -> None:
        labels = {
            known: [stage for stage in version["version_stages"] if stage not in _MOVED]
            for known, version in self.versions.items()
        }
        original(self, secret_version, version_id)
        for known, own in labels.items():
            stages = self.versions[known]["version_stages"]
            stages.extend(label for label in own if label not in stages)

    return reset_default_version


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
