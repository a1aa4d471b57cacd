"""The EC2 instance metadata service, version 2: whether this host is about to go."""

from __future__ import annotations

import threading

import httpx

from livedub.supervision.store_errors import StoreUnavailableError

_TOKEN_TTL_S = 21_600
_NOT_FOUND = 404
_UNAUTHORIZED = 401


class InstanceMetadata:
    """Reads `latest/meta-data` with a session token that is fetched again when it has run out."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._client = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, trust_env=False)
        self._lock = threading.Lock()
        self._token = ""

    def instance_action(self) -> str:
        """What EC2 is going to do with a spot instance (`terminate`, `stop`, `hibernate`) and when; empty for nothing.

        Raises:
            StoreUnavailableError: the service did not answer.
        """
        return self._read("spot/instance-action")

    def target_lifecycle_state(self) -> str:
        """Where the auto-scaling group is taking this host (`InService`, `Terminated`, ...); empty outside of a group.

        Raises:
            StoreUnavailableError: the service did not answer.
        """
        return self._read("autoscaling/target-lifecycle-state").strip()

    def instance_id(self) -> str:
        """This host's id.

        Raises:
            StoreUnavailableError: the service did not answer.
        """
        return self._read("instance-id").strip()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _read(self, name: str) -> str:
        with self._lock:
            try:
                answer = self._get(name)
                if answer.status_code == _UNAUTHORIZED:
                    self._token = ""
                    answer = self._get(name)
            except httpx.HTTPError as error:
                raise StoreUnavailableError(
                    f"The metadata service did not answer: {type(error).__name__}."
                ) from None
        if answer.status_code == _NOT_FOUND:
            return ""
        if answer.is_error:
            raise StoreUnavailableError(f"The metadata service answered {answer.status_code} for {name}.")
        return answer.text

    def _get(self, name: str) -> httpx.Response:
        if not self._token:
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_TTL_S)}
            answer = self._client.put("/latest/api/token", headers=ttl)
            answer.raise_for_status()
            self._token = answer.text.strip()
        return self._client.get(
            f"/latest/meta-data/{name}", headers={"X-aws-ec2-metadata-token": self._token}
        )
