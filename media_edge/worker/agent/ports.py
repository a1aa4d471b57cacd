"""What the agent needs from outside; every method blocks and is called through `Calls`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from livedub.errors import LivedubError
from livedub.supervision.contract import WorkClaim, WorkReport
from livedub.supervision.store_errors import StoreUnavailableError

T = TypeVar("T")


class TokenRefusedError(LivedubError):
    """Step Functions does not know the task token any more: the task is over, or another one took its place."""


class CallTimeoutError(StoreUnavailableError):
    """A call was given up on. It may still take effect."""


class GroupRefusedError(StoreUnavailableError):
    """Auto scaling answered, and will not: no such action waits, or the instance is not in service. Asking again is no use."""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message and the handle that deletes it. The body holds a token."""

    body: str = field(repr=False)
    receipt: str = field(repr=False)


class WorkQueue(Protocol):
    """Where streams to dub come from."""

    def receive(self, count: int, wait_s: int) -> list[QueuedMessage]:
        """Up to `count` messages, waiting at most `wait_s` for the first."""
        ...

    def delete(self, message: QueuedMessage) -> None:
        """The message is dealt with."""
        ...

    def give_back(self, message: QueuedMessage) -> None:
        """Somebody else may have the message, at once."""
        ...


class TaskTokens(Protocol):
    """Callbacks into the state machine.

    Every method raises TokenRefusedError when the task is over, StoreUnavailableError when nobody answered.
    """

    def succeed(self, token: str, output: WorkClaim | WorkReport) -> None:
        """The task of `token` is done."""
        ...

    def heartbeat(self, token: str) -> None:
        """The task of `token` goes on."""
        ...


class MediaKicker(Protocol):
    """The relay beside a media server."""

    def kick(self, url: str, path: str, token: str) -> None:
        """Disconnect whoever publishes `path` with `token`."""
        ...


class Calls(Protocol):
    """Runs blocking calls beside the event loop."""

    async def __call__(self, doing: str, call: Callable[[], T], timeout_s: float) -> T:
        """The result of `call`.

        Raises:
            CallTimeoutError: it took longer than `timeout_s`; what `call` raises passes through.
        """
        ...
