"""What differs between environments. Typed, checked before anything is synthesized, and read from nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from aws_cdk.aws_logs import RetentionDays
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from infra.media_config import MediaConfig
from infra.network_config import MediaCacheConfig, NetworkConfig
from infra.observability_config import ObservabilityConfig
from infra.tls_rotation_config import TlsRotationConfig
from infra.workers_config import GpuHostConfig, StsConfig, WorkersConfig
from livedub.errors import ConfigurationError
from livedub.settings import variables
from livedub.supervision.policy import SupervisionPolicy

EnvironmentName = Literal["local", "dev", "staging", "prod"]
ENVIRONMENTS: tuple[EnvironmentName, ...] = get_args(EnvironmentName)

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_SHORTEST_TOKEN, _LONGEST_TOKEN = 32, 512
_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """One environment.

    Attributes:
        name: part of every fixed physical name, so that environments share an account without meeting.
        account: AWS account id; None takes the one the CDK command is logged in to.
        region: AWS region; None takes the CDK command's.
        policy: SupervisionPolicy fields that differ from their defaults.
        log_retention: how long function, API and state machine logs are kept.
        log_level: of the functions' own lines.
        stateful_resources_survive: tables with streams are kept when the stack goes, and refuse deletion.
        reserved_concurrency: executions kept free for a function (by construct id) and its most; a function that
            is not named shares the account's pool.
        requests_per_s: steady rate over which the API answers 429, all callers together.
        burst_requests: requests the API takes at once over that rate.
        token_length: characters of the tokens that are generated. Changing it draws all of them anew.
        network: addresses.
        media: the host that publishers reach.
        workers: the hosts that dub.
        sts: who does their speech to speech.
        gpu_host: the machine that does, where it is none of RunPod's.
        media_cache: the host that keeps generated speech.
        observability: who is told of trouble, and its bounds.
    """

    name: EnvironmentName
    account: str | None = None
    region: str | None = None
    policy: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    log_retention: RetentionDays = RetentionDays.ONE_MONTH
    log_level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"
    stateful_resources_survive: bool = True
    reserved_concurrency: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    requests_per_s: int = 200
    burst_requests: int = 400
    token_length: int = 64
    network: NetworkConfig = field(default_factory=NetworkConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    sts: StsConfig = field(default_factory=StsConfig)
    gpu_host: GpuHostConfig = field(default_factory=GpuHostConfig)
    media_cache: MediaCacheConfig = field(default_factory=MediaCacheConfig)
    observability: ObservabilityConfig = field(default_factory=ObservabilityConfig)

    def __post_init__(self) -> None:
        """Refuse what would fail, or mislead, only in the middle of a deployment."""
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"name {self.name!r} cannot be part of a physical name.",
                remedy="Take 1 to 16 of a-z and 0-9, a letter first.",
            )
        if self.account is not None and not _ACCOUNT.fullmatch(self.account):
            raise ConfigurationError(
                f"account {self.account!r} is no AWS account id.", remedy="An account id has 12 digits."
            )
        for what, value in (("requests_per_s", self.requests_per_s), ("burst_requests", self.burst_requests)):
            if value < 1:
                raise ConfigurationError(f"{what} is {value}.", remedy="It must be 1 or more.")
        if not _SHORTEST_TOKEN <= self.token_length <= _LONGEST_TOKEN:
            raise ConfigurationError(
                f"token_length is {self.token_length}: who may do everything would be guessed, or not fit a header.",
                remedy=f"Take one from {_SHORTEST_TOKEN} to {_LONGEST_TOKEN}.",
            )
        for function, executions in self.reserved_concurrency.items():
            if executions < 1:
                raise ConfigurationError(
                    f"reserved_concurrency of {function} is {executions}: it would never run.",
                    remedy="It must be 1 or more, or left out.",
                )
        self.media.check_place(self.network)
        self.media_cache.check_place(self.network)
        if self.sts.source == "gpu_host":
            self.gpu_host.check_place(self.network)
        self.checked_policy()

    def checked_policy(self) -> SupervisionPolicy:
        """The policy functions of this environment run by, whatever the variables of this machine say.

        Raises:
            ConfigurationError: a field that does not exist, or a value out of bounds.
        """
        unknown = sorted(set(self.policy) - set(SupervisionPolicy.model_fields))
        if unknown:
            raise ConfigurationError(
                f"policy of environment {self.name} names unknown fields: {', '.join(unknown)}.",
                remedy="Fields are those of livedub.supervision.policy.SupervisionPolicy.",
            )
        try:
            return _PolicyFromConfig(**self.policy)
        except ValidationError as error:
            raise ConfigurationError(
                f"policy of environment {self.name}: {error}", remedy="Correct it in infra/config.py."
            ) from error

    def policy_variables(self) -> dict[str, str]:
        """The policy's LIVEDUB_* variables where this environment departs from their defaults."""
        self.checked_policy()
        names = dict(
            zip(
                SupervisionPolicy.model_fields,
                (item.name for item in variables(SupervisionPolicy)),
                strict=True,
            )
        )
        return {
            names[key]: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for key, value in self.policy.items()
        }


class _PolicyFromConfig(SupervisionPolicy):
    """SupervisionPolicy of given values alone: a variable set on the machine that synthesizes must not get in."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given."""
        return (init_settings,)


def _environments() -> tuple[EnvironmentConfig, ...]:
    return (
        EnvironmentConfig(
            name="local",
            account="123456789012",  # the local AWS knows this account and region alone
            region="us-east-1",
            policy={"heartbeat_s": 6, "report_stale_s": 30, "unknown_streams": "accept"},
            log_retention=RetentionDays.ONE_DAY,
            stateful_resources_survive=False,
            # All of it is this machine's loopback, so that addresses in parameters can be dialled as they are.
            network=NetworkConfig(
                cidr="127.20.0.0/16",
                public=("127.20.100.0/24", "127.20.101.0/24"),
                private=("127.20.16.0/20", "127.20.32.0/20"),
                isolated=("127.20.1.0/24", "127.20.2.0/24"),
            ),
            # The local AWS starts no machine; of an image it wants the name alone.
            # No machine of the local AWS runs anything: what would be fetched for it is there already.
            media=MediaConfig(
                image="ami-00000000000000000",
                image_brings=("mediamtx", "ssm-agent"),
                recordings_snapshots=0,
            ),
            workers=WorkersConfig(image="ami-00000000000000000", image_brings=("ssm-agent", "packages")),
            # That of the emulator.
            sts=StsConfig(runpod_endpoint_id="rehearsal"),
            media_cache=MediaCacheConfig(
                private_ip="127.20.1.30",
                image="ami-00000000000000000",
                rotation=TlsRotationConfig(poll_s=1, pair_wait_s=60, settle_s=3, drop_after_s=2),
            ),
        ),
        EnvironmentConfig(
            name="dev",
            log_retention=RetentionDays.ONE_WEEK,
            log_level="DEBUG",
            stateful_resources_survive=False,
            media=MediaConfig(recordings_snapshots=0),
        ),
        EnvironmentConfig(name="staging"),
        EnvironmentConfig(
            name="prod",
            log_retention=RetentionDays.SIX_MONTHS,
            # A flood at one door must not starve the others, nor what ends a run.
            reserved_concurrency={
                "OnPublish": 20,
                "OnUnpublish": 20,
                "AuthorizeMedia": 50,
                "AcquireLease": 20,
                "ClassifyOutcome": 20,
                "ReleaseLease": 20,
            },
            requests_per_s=500,
            burst_requests=1_000,
            network=NetworkConfig(nat_gateways=2),
        ),
    )


def environment_config(name: str) -> EnvironmentConfig:
    """The environment called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    known = {config.name: config for config in _environments()}
    if name not in known:
        raise ConfigurationError(
            f"environment {name!r} does not exist.", remedy=f"Take -c environment={'|'.join(known)}."
        )
    return known[name]
