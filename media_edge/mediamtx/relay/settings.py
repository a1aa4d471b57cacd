"""Settings of the relay, read from `RELAY_*` variables by the entry point, never at import."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.errors import ConfigurationError
from livedub.settings import explain
from livedub.supervision.contract import MediaAddresses

_SHORTEST_KEY_BYTES = 16
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.:-]")


class RelaySettings(BaseSettings):
    """Where the relay listens, what it stands beside and whom it reports to."""

    model_config = SettingsConfigDict(
        env_prefix="RELAY_", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.:-]{0,128}$",
        description="Name of this media host in reports and records. Empty: the host's own name.",
    )
    host: str = Field(
        default="127.0.0.1", description="Loopback address on which the media server finds the relay."
    )
    port: int = Field(default=9996, ge=1, le=65_535, description="Port on RELAY_HOST.")
    kick_host: str = Field(
        default="",
        description="A second address, inside the network, that serves /v1/kick and /health to worker hosts. Empty: "
        "only RELAY_HOST serves them.",
    )
    kick_port: int = Field(default=9995, ge=1, le=65_535, description="Port on RELAY_KICK_HOST.")
    api_url: str = Field(default="", description="Address of the control plane's HTTP API, without `/v1`.")
    signing_key: SecretStr = Field(
        default=SecretStr(""),
        description="Key shared with the control plane, in hex; the first line signs while keys rotate.",
    )
    signing_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of RELAY_SIGNING_KEY."
    )
    server: Literal["mediamtx", "nginx"] = Field(
        default="mediamtx", description="What kind of media server this is: `mediamtx` or `nginx`."
    )
    server_api_url: str = Field(
        default="http://127.0.0.1:9997",
        description="The media server's control API (MediaMTX), or the address with /stat and /control (nginx).",
    )
    api_networks: str = Field(
        default="",
        description="Networks that may use the media server's own API and metrics beside this host, such as "
        "10.0.0.0/16; several with commas. Empty: this host alone.",
    )
    play_base_url: str = Field(
        default="",
        description="Where worker hosts play from: rtmp://, rtmps:// or rtsp://HOST:PORT, no path.",
    )
    publish_base_url: str = Field(
        default="", description="Where worker hosts publish to: rtmp:// or rtmps://HOST:PORT, no path."
    )
    kick_url: str = Field(
        default="", description="Where worker hosts reach /v1/kick. Empty: they cannot kick a publisher."
    )
    reads: Literal["ask", "open"] = Field(
        default="ask",
        description="Who decides about readers: `ask` the control plane, or `open` to anybody, without asking.",
    )
    read_cache_s: float = Field(
        default=10, ge=0, le=300, description="How long an answer about a reader is used again."
    )
    read_stale_s: float = Field(
        default=60,
        ge=0,
        le=3_600,
        description="How long a permitted reader stays permitted while the control plane cannot be reached.",
    )
    forward_timeout_ms: int = Field(
        default=3_000,
        ge=100,
        le=30_000,
        description="How long one request to the control plane may take; a function that starts cold needs seconds.",
    )
    auth_timeout_ms: int = Field(
        default=6_000,
        ge=100,
        le=8_000,
        description="How long the media server waits for a decision; then it is no. Must stay below its own timeout.",
    )
    report_period_s: float = Field(
        default=10, gt=0, le=600, description="How often the list of published paths is sent."
    )
    hook_tries: int = Field(default=6, ge=1, le=20, description="How often a hook is sent before it is lost.")
    hook_queue_size: int = Field(
        default=64, ge=2, le=1_000, description="Hooks of one path that may wait; the oldest gives way."
    )
    drain_timeout_s: float = Field(
        default=5, ge=0, le=60, description="How long waiting hooks may take to leave when the relay stops."
    )
    recordings_dir: Path | None = Field(
        default=None,
        description="Folder of media_edge.mediamtx.recordings, where the relay notes which generation publishes when; "
        "empty notes nothing.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest level that is logged."
    )
    log_style: Literal["json", "plain"] = Field(default="json", description="Form of a log line.")

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        # What comes in here is believed: only this machine's media server may speak.
        if not _is_loopback(value):
            raise ValueError(f"{value!r} is no loopback address: hooks and auth requests carry no proof")
        return value

    @field_validator("api_url", "server_api_url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://HOST[:PORT] or https://HOST")
        if parts.username or parts.query:
            raise ValueError("must carry neither a user nor a query")
        return value.rstrip("/")

    @field_validator("api_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in _networks_of(value):
            if network.prefixlen == 0:
                raise ValueError(f"{network} is everybody: the API kicks and configures")
        return value

    @field_validator("play_base_url", "publish_base_url")
    @classmethod
    def _media(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("rtmp", "rtmps", "rtsp") or not parts.hostname:
            raise ValueError("must be something like rtmp://HOST:1935")
        if parts.path.strip("/") or parts.query:
            raise ValueError("must have neither path nor query: paths are added to it")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name in ("api_url", "play_base_url", "publish_base_url"):
            if not getattr(self, name):
                raise ValueError(
                    f"RELAY_{name.upper()} is missing ({type(self).model_fields[name].description})"
                )
        if self.kick_host and self.kick_port == self.port:
            raise ValueError("RELAY_KICK_PORT must differ from RELAY_PORT")
        return self

    @property
    def relay_id(self) -> str:
        """What records call this media host."""
        return self.id or _NOT_IN_AN_ID.sub("-", socket.gethostname())[:128] or "relay"

    @property
    def api_network_list(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """`api_networks`, read."""
        return _networks_of(self.api_networks)

    @property
    def media(self) -> MediaAddresses:
        """The media server as worker hosts reach it."""
        return MediaAddresses(
            play_base_url=self.play_base_url, publish_base_url=self.publish_base_url, kick_url=self.kick_url
        )

    def key(self) -> bytes:
        """The signing key: the first line of the variable or of the file.

        Raises:
            ConfigurationError: neither is given, the file cannot be read, or it holds no key.
        """
        text = self.signing_key.get_secret_value()
        if not text and self.signing_key_file is not None:
            try:
                text = self.signing_key_file.read_text(encoding="ascii")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise ConfigurationError(
                    f"RELAY_SIGNING_KEY_FILE {self.signing_key_file} cannot be read: {reason}.",
                    remedy="Give the relay's user access to the key, in hex.",
                ) from None
        first = next(iter(text.split()), "")
        try:
            key = bytes.fromhex(first)
        except ValueError:
            key = b""
        if len(key) < _SHORTEST_KEY_BYTES:
            raise ConfigurationError(
                "RELAY_SIGNING_KEY holds no key.",
                remedy=f"Set it, or RELAY_SIGNING_KEY_FILE, to {_SHORTEST_KEY_BYTES} bytes or more in hex.",
            )
        return key

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: something is missing or wrong.
        """
        try:
            return cls()
        except ValidationError as error:
            raise explain(error, cls) from None


def _networks_of(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
