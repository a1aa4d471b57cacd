"""What a rehearsal found, one line per check, and what it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    well: bool
    said: str = ""


@dataclass(slots=True)
class Verdict:
    """Filled while the rehearsal runs."""

    checks: list[Check] = field(default_factory=list[Check])
    spans: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds by step; steps run side by side, so they do not add up."""
    began_s: float = field(default_factory=time.monotonic)

    @property
    def well(self) -> bool:
        """Whether all is as it should be."""
        return bool(self.checks) and all(check.well for check in self.checks)

    def note(self, name: str, said: str = "", *, well: bool) -> None:
        """Add a check."""
        self.checks.append(Check(name, well, said))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a step took, however it ended."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.spans[step] = time.monotonic() - began_s

    def lines(self) -> list[str]:
        """For people."""
        wide = max((len(check.name) for check in self.checks), default=0)
        found = [
            f"  {'ok ' if check.well else 'NOT'}  {check.name:<{wide}}  {check.said}".rstrip()
            for check in self.checks
        ]
        took = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in self.spans.items())
        whole_s = time.monotonic() - self.began_s
        return [
            *found,
            f"  took {took}; in all {whole_s:.0f} s",
            f"rehearsal: {'verified' if self.well else 'NOT verified'}",
        ]
