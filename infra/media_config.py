"""The media host of one environment, with MediaMTX and its relay: typed, and checked before synthesis."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal, get_args

from infra.host_checks import (
    DEBIAN_IMAGE,
    check_address,
    check_choice,
    check_image,
    check_instance_type,
    check_made_from,
    check_snapshots,
    check_volume,
    image_of,
)
from infra.network_config import NetworkConfig

Brought = Literal["mediamtx", "ssm-agent"]

_USUAL_HOST_NUMBER = 30


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """Where publishers send to.

    Attributes:
        private_ip: by which worker hosts reach it, in the first public subnet; empty takes the subnet's 30th, or
            the last of a smaller one.
        instance_type: amd64. Its network carries every stream once in, once per language out, and to each player.
        image: Debian 12 for amd64 in the region of the deployment. Never "the latest": another image is another
            machine, and whoever deploys decides when.
        image_brings: what `image` has already, so that the release need not hold it: `mediamtx` (as
            /usr/local/bin/mediamtx), `ssm-agent`.
        recordings_gb: for parts until the library has them.
        recordings_snapshots: how many daily snapshots of them are kept; 0 makes none.
        recordings_from: what their volume was made from, once it has been replaced: `snap-...`, or `empty-1` for
            nothing, `empty-2` the next time. From then on it stays: another value is another volume.
        record: whether what is published is recorded for the library.
        host: whether there is the machine. Off for one deployment while it is replaced: no two can have its address.
    """

    private_ip: str = ""
    instance_type: str = "c6i.large"
    image: str = ""
    image_brings: tuple[Brought, ...] = ()
    recordings_gb: int = 100
    recordings_snapshots: int = 7
    recordings_from: str = ""
    record: bool = False
    host: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_image("media.image", self.image)
        check_instance_type("media.instance_type", self.instance_type)
        check_volume("media.recordings_gb", self.recordings_gb)
        check_snapshots("media.recordings_snapshots", self.recordings_snapshots)
        check_made_from("media.recordings_from", self.recordings_from)
        for brought in self.image_brings:
            check_choice("media.image_brings", brought, get_args(Brought))

    def check_place(self, network: NetworkConfig) -> None:
        """See that the host's address can be had in `network`.

        Raises:
            ConfigurationError: it is outside of the first public subnet, or one that AWS keeps for itself.
        """
        check_address(
            "media.private_ip",
            self.address_in(network),
            ipaddress.IPv4Network(network.public[0]),
            "network.public[0]",
        )

    def address_in(self, network: NetworkConfig) -> str:
        """The host's address inside the network."""
        subnet = ipaddress.IPv4Network(network.public[0])
        last = subnet.num_addresses - 2
        return self.private_ip or str(subnet.network_address + min(_USUAL_HOST_NUMBER, last))

    def checked_image(self) -> str:
        """The image to start the host from.

        Raises:
            ConfigurationError: there is none.
        """
        return image_of("media.image", self.image, context="media_image", parameter=DEBIAN_IMAGE)
