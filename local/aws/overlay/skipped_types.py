"""Resource types that do nothing here: why, and what covers them instead.

Their resources exist by name alone, so that what refers to them resolves. A type that is neither made nor named here fails
the deployment: nobody shall think that it was rehearsed. Imports nothing of moto: `deploy-local` reads it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a type is skipped, and where what it does is looked at."""

    why: str
    covered_by: str


_POLICY = Skipped(
    "no policy is enforced here", "assertions of tests/infra on the template, cdk-nag at every synthesis"
)

SKIPPED: Mapping[str, Skipped] = MappingProxyType(
    {
        "AWS::DLM::LifecyclePolicy": Skipped(
            "nothing is stored on the volumes here, and no snapshots are made of them",
            "assertions of tests/infra/test_volume_snapshots.py on the policy, its role and what it finds by which tag",
        ),
        "AWS::S3::BucketPolicy": _POLICY,
        "AWS::SNS::TopicPolicy": _POLICY,
        "AWS::SQS::QueuePolicy": _POLICY,
        "AWS::SSM::Association": Skipped(
            "it is remembered and not carried out: there is no machine to install on",
            "tests/infra/test_user_data.py runs the installation with AWS and systemd played; the rehearsal starts the "
            "same processes with the settings that were deployed",
        ),
    }
)
