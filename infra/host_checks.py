"""Checks that the configuration of every host needs: its image, its size, its address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from livedub.errors import ConfigurationError

DEBIAN_IMAGE = "/aws/service/debian/release/12/latest/amd64"
"""The public parameter that Debian keeps the id of its newest image of release 12 in, one per region."""

_RESERVED_FIRST = 4
"""AWS keeps the first four addresses of each subnet, and the last."""
_LARGEST_GP3_GB = 16_384
_MOST_SNAPSHOTS = 1_000
"""Data Lifecycle Manager keeps no more of one volume."""
_MADE_FROM = re.compile(r"snap-[0-9a-f]{8,17}|empty-[0-9]{1,4}")
_IMAGE = re.compile(r"ami-[0-9a-f]{8,17}")
_INSTANCE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_GRAVITON = re.compile(r"(a1|[a-z]+[0-9]+g[a-z]*)\..+")
"""Of another architecture than every image and every wheel here."""
_XEN = re.compile(r"(t[12]|m[1-4]|c[134]|r[34]|d2|f1|g3s?|h1|i2|p[23]|x1e?)\..+")
"""Volumes have no NVMe names there, which a first boot waits for."""


def check_image(key: str, image: str) -> None:
    """Refuse what is no image's id; none is for `image_of` to refuse."""
    if image and not _IMAGE.fullmatch(image):
        raise ConfigurationError(f"{key} {image!r} is no image.", remedy="Give ami-... of the region.")


def image_of(key: str, image: str, *, context: str, parameter: str) -> str:
    """The image to start a host from.

    Raises:
        ConfigurationError: there is none; `parameter` is where whoever deploys finds one, `context` how to give it.
    """
    if not image:
        raise ConfigurationError(
            f"{key} is not set.",
            remedy=f"Add -c {context}=ami-...: the value of SSM parameter {parameter} in your region, and keep it.",
        )
    return image


def check_instance_type(key: str, instance_type: str) -> None:
    """Refuse what is none."""
    if not _INSTANCE.fullmatch(instance_type):
        raise ConfigurationError(f"{key} {instance_type!r} is none.", remedy="Give one such as t3.medium.")
    if _GRAVITON.fullmatch(instance_type) or _XEN.fullmatch(instance_type):
        raise ConfigurationError(
            f"{key} {instance_type} cannot run what is installed.",
            remedy="Give one of amd64 on Nitro, such as t3.medium, c6i.large or g5.xlarge.",
        )


def check_volume(key: str, size_gb: int) -> None:
    """Refuse what gp3 has not."""
    if not 1 <= size_gb <= _LARGEST_GP3_GB:
        raise ConfigurationError(f"{key} is {size_gb}.", remedy=f"A gp3 volume has 1 to {_LARGEST_GP3_GB}.")


def check_snapshots(key: str, keep: int) -> None:
    """Refuse what Data Lifecycle Manager does not keep."""
    if not 0 <= keep <= _MOST_SNAPSHOTS:
        raise ConfigurationError(
            f"{key} is {keep}.",
            remedy=f"Take 0 for none, or as many days as to keep, up to {_MOST_SNAPSHOTS}.",
        )


def check_made_from(key: str, made_from: str) -> None:
    """Refuse what no volume can be made from; nothing is what it is first made from."""
    if made_from and not _MADE_FROM.fullmatch(made_from):
        raise ConfigurationError(
            f"{key} is {made_from!r}.",
            remedy="Give snap-... of the region, or empty-1, empty-2, ... for another volume with nothing on it.",
        )


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what is not one of `choices`."""
    if value not in choices:
        raise ConfigurationError(f"{key} names {value!r}.", remedy=f"Take of {', '.join(choices)}.")


def check_address(key: str, text: str, subnet: ipaddress.IPv4Network, subnet_key: str) -> None:
    """See that a host can have the address `text` in `subnet`, which `subnet_key` of the configuration gives.

    Raises:
        ConfigurationError: it is none, outside of the subnet, or one that AWS keeps for itself.
    """
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{key} {text!r} is no IPv4 address.", remedy=f"Give one in {subnet}."
        ) from error
    if address not in subnet:
        raise ConfigurationError(
            f"{key} {address} is outside of {subnet_key} {subnet}.", remedy=f"Change it, or {subnet_key}."
        )
    first = int(subnet.network_address) + _RESERVED_FIRST
    if not first <= int(address) < int(subnet.broadcast_address):
        raise ConfigurationError(
            f"{key} {address} is kept by AWS.",
            remedy=f"Take {ipaddress.IPv4Address(first)} or a later one, not the last.",
        )
