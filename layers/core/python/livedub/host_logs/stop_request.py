"""The wish that this process ends, as something that can be waited for together with what is read."""

from __future__ import annotations

import os
import select
import signal
import time


class StopRequest:
    """Asked for by SIGTERM or SIGINT; as a context it catches both.

    A handler that set an Event could meet the lock that its own thread waits with; a pipe has none.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.asked = False

    def __enter__(self) -> StopRequest:
        """Catch the signals from here on."""
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in self._before:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.ask()

    def ask(self) -> None:
        """End soon."""
        if not self.asked:
            self.asked = True
            os.write(self._writer, b"!")

    def fileno(self) -> int:
        """Readable for ever, once it was asked for."""
        return self._reader

    def wait(self, seconds: float) -> bool:
        """Wait, until it is asked for at most; whether it is."""
        ends = time.monotonic() + seconds
        while not self.asked:
            left = ends - time.monotonic()
            if left <= 0:
                break
            select.select([self._reader], [], [], left)
        return self.asked
