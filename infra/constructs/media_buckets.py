"""The library's two buckets: what comes in, and what jobs make of it."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.acknowledged import acknowledge

PARTS_PREFIX = ".parts/"
"""Of the bucket `out`: parts of dubs that are worked on; gone when their job is done."""
UNDO = Duration.days(30)
"""So long a file that was deleted or overwritten can be had back."""


class MediaBuckets(Construct):
    """Private, encrypted, by TLS alone. Their names are made by CloudFormation."""

    def __init__(self, scope: Construct, construct_id: str, *, survive: bool) -> None:
        super().__init__(scope, construct_id)
        self.media_in = self._bucket("In", survive=survive)
        self.media_out = self._bucket("Out", survive=survive)
        self.media_out.add_lifecycle_rule(
            id="parts-of-jobs-that-never-ended",
            prefix=PARTS_PREFIX,
            expiration=Duration.days(14),
            noncurrent_version_expiration=Duration.days(1),
        )

    def _bucket(self, construct_id: str, *, survive: bool) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            construct_id,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            # An upload that nobody finishes costs as much as one that somebody does, and is seen by none.
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="uploads-that-nobody-finished",
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                ),
                s3.LifecycleRule(
                    id="versions-that-nobody-wanted-back",
                    noncurrent_version_expiration=UNDO,
                    expired_object_delete_marker=True,
                ),
            ],
            removal_policy=RemovalPolicy.RETAIN if survive else RemovalPolicy.DESTROY,
        )
        acknowledge(
            bucket,
            "S1",
            "Access logs name files and cost more than they tell; CloudTrail data events can be added.",
        )
        return bucket
