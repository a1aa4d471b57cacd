"""Addresses of an environment's network and of the media-cache host in it: typed, and checked before synthesis."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from itertools import combinations

from infra.host_checks import check_instance_type, check_made_from, check_snapshots
from infra.tls_rotation_config import TlsRotationConfig
from livedub.errors import ConfigurationError

_ZONES = 2
"""A database wants subnets in two availability zones, so everything has two."""
_RESERVED_FIRST = 4
"""AWS keeps the first four addresses of each subnet, and the last."""
_VPC_PREFIXES = range(16, 29)
_IMAGE = re.compile(r"ami-[0-9a-f]{8,17}")
_INSTANCE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9]+")
_DNS = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network of one environment.

    Attributes:
        cidr: all of it.
        public: subnets that the internet reaches, one per availability zone.
        private: subnets that reach the internet and are not reached.
        isolated: subnets with no way out; the media-cache host is in the first.
        publishers: from where RTMP is sent to the media server; nobody by default.
        nat_gateways: one is cheaper, two outlive an availability zone.
    """

    cidr: str = "10.0.0.0/16"
    public: tuple[str, ...] = ("10.0.100.0/24", "10.0.101.0/24")
    private: tuple[str, ...] = ("10.0.16.0/20", "10.0.32.0/20")
    isolated: tuple[str, ...] = ("10.0.1.0/24", "10.0.2.0/24")
    publishers: tuple[str, ...] = ()
    nat_gateways: int = 1

    def __post_init__(self) -> None:
        """Refuse what CloudFormation would refuse in the middle of a deployment, or what opens too much."""
        vpc = _network("network.cidr", self.cidr)
        if vpc.prefixlen not in _VPC_PREFIXES:
            raise ConfigurationError(
                f"network.cidr {self.cidr} has the wrong size.", remedy="AWS takes /16 to /28."
            )
        self._check_subnets(vpc)
        for cidr in self.publishers:
            if _network("network.publishers", cidr).prefixlen == 0:
                raise ConfigurationError(
                    f"network.publishers {cidr} lets everybody publish.",
                    remedy="Name the addresses that publishers are at.",
                )
        if not 1 <= self.nat_gateways <= _ZONES:
            raise ConfigurationError(f"network.nat_gateways is {self.nat_gateways}.", remedy="Take 1 or 2.")

    def _check_subnets(self, vpc: ipaddress.IPv4Network) -> None:
        subnets: list[tuple[str, ipaddress.IPv4Network]] = []
        for name in ("public", "private", "isolated"):
            cidrs: tuple[str, ...] = getattr(self, name)
            if len(cidrs) != _ZONES:
                raise ConfigurationError(
                    f"network.{name} has {len(cidrs)} subnets.",
                    remedy="Give one per availability zone: two.",
                )
            subnets += [(f"network.{name} {cidr}", _network(f"network.{name}", cidr)) for cidr in cidrs]
        for what, subnet in subnets:
            if not subnet.subnet_of(vpc):
                raise ConfigurationError(
                    f"{what} is not in network.cidr {self.cidr}.", remedy="Take a part of it."
                )
        for (one, first), (other, second) in combinations(subnets, 2):
            if first.overlaps(second):
                raise ConfigurationError(
                    f"{one} and {other} overlap.", remedy="Give each addresses of its own."
                )


@dataclass(frozen=True, slots=True)
class MediaCacheConfig:
    """The media-cache host of one environment.

    Attributes:
        private_ip: by which consumers reach it, in the first isolated subnet.
        port: HTTPS.
        instance_type: x86_64; docs/media-cache.md, Capacity.
        image: Amazon Linux 2023 in the region of the deployment. Never "the latest": another image is another
            machine, and whoever deploys decides when.
        volume_gb: for stored speech.
        volume_snapshots: how many daily snapshots of it are kept; 0 makes none: speech is made again as it is spoken.
        volume_from, tls_from: what its volumes were made from, once they have been replaced; as `media.recordings_from`.
        san_dns: a name that its certificate is also for.
        database_class: of the Postgres with the catalogues.
        host: whether there is the machine. Off for one deployment while it is replaced: no two can have its address.
        rotation: how patient a change of its certificate is.
    """

    private_ip: str = "10.0.1.30"
    port: int = 8443
    instance_type: str = "t3.medium"
    image: str = ""
    volume_gb: int = 40
    volume_snapshots: int = 0
    volume_from: str = ""
    tls_from: str = ""
    san_dns: str = ""
    database_class: str = "t4g.micro"
    host: bool = True
    rotation: TlsRotationConfig = field(default_factory=TlsRotationConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1_024 <= self.port <= 65_535:
            # Caddy is not root and has no capability.
            raise ConfigurationError(
                f"media_cache.port is {self.port}.", remedy="Take one from 1024 to 65535."
            )
        check_instance_type("media_cache.instance_type", self.instance_type)
        if not _INSTANCE.fullmatch(self.database_class):
            raise ConfigurationError(
                f"media_cache.database_class {self.database_class!r} is none.",
                remedy="Give one such as t4g.micro.",
            )
        if self.image and not _IMAGE.fullmatch(self.image):
            raise ConfigurationError(
                f"media_cache.image {self.image!r} is no image.", remedy="Give ami-... of the region."
            )
        if not 1 <= self.volume_gb <= 16_384:
            raise ConfigurationError(
                f"media_cache.volume_gb is {self.volume_gb}.", remedy="A gp3 volume has 1 to 16384."
            )
        check_snapshots("media_cache.volume_snapshots", self.volume_snapshots)
        check_made_from("media_cache.volume_from", self.volume_from)
        check_made_from("media_cache.tls_from", self.tls_from)
        if self.san_dns and not _DNS.fullmatch(self.san_dns):
            raise ConfigurationError(
                f"media_cache.san_dns {self.san_dns!r} is no name.", remedy="Give one such as media.internal."
            )

    def check_place(self, network: NetworkConfig) -> None:
        """See that `private_ip` can be had in `network`.

        Raises:
            ConfigurationError: it is outside of the first isolated subnet, or one that AWS keeps for itself.
        """
        subnet = ipaddress.IPv4Network(network.isolated[0])
        try:
            address = ipaddress.IPv4Address(self.private_ip)
        except ValueError as error:
            raise ConfigurationError(
                f"media_cache.private_ip {self.private_ip!r} is no IPv4 address.",
                remedy=f"Give one in {subnet}.",
            ) from error
        if address not in subnet:
            raise ConfigurationError(
                f"media_cache.private_ip {address} is outside of the first isolated subnet {subnet}.",
                remedy="Change it, or network.isolated.",
            )
        first = int(subnet.network_address) + _RESERVED_FIRST
        if not first <= int(address) < int(subnet.broadcast_address):
            raise ConfigurationError(
                f"media_cache.private_ip {address} is kept by AWS.",
                remedy=f"Take {ipaddress.IPv4Address(first)} or a later one, not the last.",
            )

    def checked_image(self) -> str:
        """The image to start the host from.

        Raises:
            ConfigurationError: there is none.
        """
        if not self.image:
            raise ConfigurationError(
                "media_cache.image is not set.",
                remedy="Add -c media_cache_image=ami-...: the value of SSM parameter "
                "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64 in your region, and keep it.",
            )
        return self.image


def _network(what: str, cidr: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise ConfigurationError(
            f"{what} {cidr!r} is no IPv4 network: {error}.", remedy="Give one such as 10.0.0.0/16."
        ) from error
