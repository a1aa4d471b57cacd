"""Findings of cdk-nag that are meant to be so, each where it arises and with its reason."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import Construct


def acknowledge(construct: Construct, rule: str, reason: str) -> None:
    """Let `rule` (such as `SMG4`) pass for this construct and what is in it."""
    Validations.of(construct).acknowledge(
        Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )


def acknowledge_below(construct: Construct, owner: Stack, arn: str, below: str, reason: str) -> None:
    """Let the right to everything `below` an ARN of the stack `owner` pass, in a policy of another stack.

    cdk-nag knows the ARN by the name that `owner` exports it under; this says which, and makes the export.
    """
    exported = owner.resolve(owner.export_value(arn))["Fn::ImportValue"]
    acknowledge(construct, f"IAM5[Resource::{exported}{below}]", reason)
