"""Who may speak to whom: one security group per part of the system, and every opening between them in one table."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.network_config import NetworkConfig

RTMP, API, METRICS, KICK = 1935, 9997, 9998, 9995
HTTPS, POSTGRES = 443, 5432


class NetworkDoors(Construct):
    """Security groups.

    `media`: media servers. `workers`: worker hosts. `cache`: the media-cache host. `cleanup`: the function that cleans it.
    `rotation`: the function that looks at its certificate. `library`: the media library's functions. `database`: Postgres. `endpoints`: AWS services inside the VPC.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc,
        config: NetworkConfig,
        cache_port: int,
    ) -> None:
        super().__init__(scope, construct_id)
        # What reaches the internet may go anywhere; the rest only through the doors below.
        self.media = self._group("Media", vpc, "Media servers.", egress=True)
        self.workers = self._group("Workers", vpc, "Worker hosts.", egress=True)
        self.cache = self._group("Cache", vpc, "The media-cache host.")
        self.cleanup = self._group("Cleanup", vpc, "The function that cleans the media cache.")
        self.rotation = self._group(
            "Rotation", vpc, "The function that looks at the certificate of the media cache."
        )
        self.library = self._group("Library", vpc, "Functions of the media library.", egress=True)
        self.database = self._group("Database", vpc, "Postgres.")
        self.endpoints = self._group("Endpoints", vpc, "AWS services inside the VPC.")
        for cidr in config.publishers:
            self.media.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(RTMP), "Publishers.")
        for caller, port, called, why in (
            (self.workers, RTMP, self.media, "Workers play, and publish what they dubbed."),
            (self.workers, KICK, self.media, "Workers kick the publisher before them."),
            (self.workers, API, self.media, "API of the media server."),
            (self.workers, METRICS, self.media, "Metrics of the media server."),
            (self.workers, cache_port, self.cache, "Workers ask for speech, and store it."),
            (self.cleanup, cache_port, self.cache, "Deletes what is past its time."),
            (self.rotation, cache_port, self.cache, "Looks at the certificate."),
            (self.cache, POSTGRES, self.database, "The catalogue."),
            (self.cleanup, POSTGRES, self.database, "The catalogue."),
            (self.library, POSTGRES, self.database, "The catalogue."),
            (self.media, HTTPS, self.endpoints, "AWS services."),
            (self.workers, HTTPS, self.endpoints, "AWS services."),
            (self.library, HTTPS, self.endpoints, "AWS services."),
            (self.cache, HTTPS, self.endpoints, "AWS services."),
            (self.cleanup, HTTPS, self.endpoints, "AWS services."),
            (self.rotation, HTTPS, self.endpoints, "AWS services."),
        ):
            called.add_ingress_rule(caller, ec2.Port.tcp(port), why)
            if not caller.allow_all_outbound:
                caller.add_egress_rule(called, ec2.Port.tcp(port), why)
        for group in (self.cache, self.cleanup, self.rotation):
            # With no rule of its own a group gets AWS's: everything may leave. Those above are resources beside it.
            group.add_egress_rule(ec2.Peer.ipv4("127.0.0.1/32"), ec2.Port.tcp(HTTPS), "Nowhere.")
        # S3 answers at public addresses that only the gateway's route leads to: the subnet has no other way out.
        self.cache.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(HTTPS), "S3, by its gateway.")

    def _group(
        self, construct_id: str, vpc: ec2.IVpc, description: str, *, egress: bool = False
    ) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, construct_id, vpc=vpc, description=description, allow_all_outbound=egress
        )
