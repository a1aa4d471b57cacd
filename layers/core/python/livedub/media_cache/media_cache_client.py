"""The media cache as seen from asyncio; `blocking_client` is the same for threads.

    async with AsyncMediaCacheClient(["https://10.0.0.5:8443"], token=token, tls=bundle) as cache:
        audio = await cache.get(cache_key(sentence, voice, model), Variant.PCM)     # None: not there

Reading asks a key's first host, then its second choice, so that a host may come or go without losing what is stored.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Sequence
from types import TracebackType

import httpx

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.errors import MediaCacheUnavailableError
from livedub.media_cache.exchange_client import Answer, Ask, HostExchange
from livedub.media_cache.key import Variant, object_path
from livedub.media_cache.rendezvous import Rendezvous
from livedub.media_cache.singleflight import SingleFlight
from livedub.media_cache.tls_bundle import CaBundle, parse_ca_bundle
from livedub.media_cache.tls_diag import diag_of
from livedub.media_cache.wire import (
    CONTENT_DIGEST_HEADER,
    MAX_OBJECT_BYTES,
    MEDIA_TYPES,
    METADATA_HEADER,
    CacheMetadata,
    encode_metadata,
)
from livedub.sts.breaker import BreakerConfig

logger = logging.getLogger(__name__)

DEFAULT_DEADLINE_MS = 2_000

_READ_CHOICES = 2
_OK = 200
_CREATED = 201
_NO_CONTENT = 204
_PARTIAL = 206
_NOT_FOUND = 404
_RANGE_NOT_SATISFIABLE = 416


class AsyncMediaCacheClient:
    """Belongs to one asyncio loop; safe to use from many tasks and to cancel. Readers of one object share a request.

    Args:
        base_urls: the hosts, `https://host:port`.
        token: for uploads and deletions.
        tls: what vouches for the hosts; None trusts the machine's authorities.
        deadline_ms: longest that one call may take, both choices together.
        breaker: leaves a host alone for a while after so many failures; None always asks.
        transport: instead of the network, for tests.

    Raises:
        ConfigurationError: no host, a host twice, or a token that no header can carry.
        CaBundleError: OpenSSL refuses the bundle.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        *,
        token: str = "",
        tls: CaBundle | None = None,
        deadline_ms: int = DEFAULT_DEADLINE_MS,
        breaker: BreakerConfig | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigurationError(
                "TTS_MEDIA_CACHE_UPLOAD_TOKEN holds characters that no HTTP header may carry.",
                remedy="Use printable ASCII, without spaces or line breaks.",
            )
        self._rendezvous = Rendezvous([url.rstrip("/") for url in base_urls])
        self._token = token
        self._deadline_ms = deadline_ms
        self._exchange = HostExchange(
            self._rendezvous.hosts, tls=tls, deadline_ms=deadline_ms, breaker=breaker, transport=transport
        )
        self._reads: SingleFlight[tuple[str, str], bytes | None] = SingleFlight()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses that keys are shared among."""
        return self._rendezvous.hosts

    @property
    def writes(self) -> bool:
        """Whether there is a token to write with."""
        return bool(self._token)

    async def get(self, key: str, variant: Variant) -> bytes | None:
        """The stored object; None where there is none.

        Raises:
            MediaCacheError: a host that might have it did not answer in time, or refused.
            InvalidInputError: `key` is no key.
        """
        path = object_path(key, variant)
        return await self._reads.run((path, ""), lambda: self._read(key, path, ""))

    async def get_range(self, key: str, variant: Variant, start: int, end: int) -> bytes | None:
        """Bytes `start` up to but not including `end`, as slicing the object would give; None where there is none.

        Raises:
            MediaCacheError: as `get`.
            InvalidInputError: `key` is no key, or the range is empty.
        """
        if not 0 <= start < end:
            raise InvalidInputError(f"range {start} to {end} is empty.", remedy="Give 0 <= start < end.")
        path, wanted = object_path(key, variant), f"bytes={start}-{end - 1}"
        body = await self._reads.run((path, wanted), lambda: self._read(key, path, wanted))
        return None if body is None else body[: end - start]

    async def exists(self, key: str, variant: Variant) -> bool:
        """Whether the object is there.

        Raises:
            MediaCacheError: as `get`.
            InvalidInputError: `key` is no key.
        """
        ask = Ask("HEAD", object_path(key, variant), {_OK, _NOT_FOUND})
        return await self._from_choices(key, ask) is not None

    async def put(self, metadata: CacheMetadata, body: bytes) -> bool:
        """Store an object under the key that its metadata makes, at the first of its two choices that takes it.

        Returns:
            True where it is new, False where it took the place of another.

        Raises:
            MediaCacheError: no host took it; only 201 and 204 count.
            InvalidInputError: the metadata does not describe the body, or one of them is too long.
        """
        if not metadata.variant.describes(len(body)):
            raise InvalidInputError(
                f"{len(body)} bytes do not last {metadata.variant.duration_ms} ms as "
                f"{metadata.variant.encoding.value}.",
                remedy="Describe the body with AudioVariant.of.",
            )
        if len(body) > MAX_OBJECT_BYTES:
            raise InvalidInputError(
                f"the object has {len(body)} bytes.", remedy=f"At most {MAX_OBJECT_BYTES} are taken."
            )
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")
        headers = {
            "content-type": MEDIA_TYPES[metadata.variant.encoding],
            METADATA_HEADER: encode_metadata(metadata),
            CONTENT_DIGEST_HEADER: f"sha-256=:{digest}:",
            **self._authorization(),
        }
        key = metadata.key
        ask = Ask("PUT", object_path(key, metadata.variant.encoding), {_CREATED, _NO_CONTENT}, headers, body)
        answer = await self._from_choices(key, ask)
        return answer is not None and answer.status_code == _CREATED

    async def delete(self, key: str, variant: Variant) -> bool:
        """Remove the object from every host: a change of hosts may have left it at any.

        Returns:
            Whether it was anywhere.

        Raises:
            MediaCacheError: a host did not confirm.
            InvalidInputError: `key` is no key.
        """
        ask = Ask("DELETE", object_path(key, variant), {_NO_CONTENT, _NOT_FOUND}, self._authorization())
        answers = await asyncio.gather(
            *(self._exchange.send(host, ask, self._deadline_ms) for host in self.hosts),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return any(isinstance(answer, Answer) and answer.status_code == _NO_CONTENT for answer in answers)

    async def aclose(self) -> None:
        """Close every connection; safe to call twice."""
        await self._exchange.aclose()

    async def __aenter__(self) -> AsyncMediaCacheClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self, key: str, path: str, wanted: str) -> bytes | None:
        headers = {"range": wanted} if wanted else {}
        good = {_OK, _NOT_FOUND, *((_PARTIAL, _RANGE_NOT_SATISFIABLE) if wanted else ())}
        answer = await self._from_choices(key, Ask("GET", path, good, headers))
        if answer is None:
            return None
        if answer.status_code == _RANGE_NOT_SATISFIABLE:
            return b""
        if wanted and answer.status_code == _OK:
            # RFC 9110, 14.2: a server may leave Range out of account.
            return answer.body[int(wanted.removeprefix("bytes=").partition("-")[0]) :]
        return answer.body

    async def _from_choices(self, key: str, ask: Ask) -> Answer | None:
        """The first answer of the key's two hosts that is not 404; None where all say so.

        Raises:
            MediaCacheError: a host refused, or one that might have said more did not answer.
        """
        choices = self._rendezvous.order(key)[:_READ_CHOICES]
        failure: MediaCacheUnavailableError | None = None
        for host in choices:
            try:
                answer = await self._exchange.send(host, ask, self._deadline_ms // len(choices))
            except MediaCacheUnavailableError as error:
                failure = failure or error
                continue
            if answer.status_code != _NOT_FOUND:
                return answer
        if failure is not None:
            raise failure
        return None

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"} if self._token else {}


def connect_media_cache(
    settings: MediaCacheSettings, *, breaker: BreakerConfig | None = None
) -> AsyncMediaCacheClient | None:
    """The client that the settings describe, None where they name no cache; logs what it trusts. Connects on first use.

    Raises:
        ConfigurationError: the token or the bundle cannot be used.
    """
    if not settings.base_urls:
        return None
    tls = parse_ca_bundle(settings.ca_bundle) if settings.ca_bundle.strip() else None
    logger.info("%s", diag_of(tls).line())
    return AsyncMediaCacheClient(
        settings.base_urls,
        token=settings.upload_token.get_secret_value(),
        tls=tls,
        deadline_ms=settings.deadline_ms,
        breaker=breaker,
    )
