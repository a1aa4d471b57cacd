"""What the constant delay D leaves for a fragment."""

from __future__ import annotations

from livedub.errors import ConfigurationError
from livedub.timeline.clock import NS_PER_MS, NS_PER_S


def fragment_max_ns(delay_ms: int, sts_budget_ms: int, mixer_lead_ms: int, *, min_ns: int = NS_PER_S) -> int:
    """The longest fragment that can still be dubbed in time: `D - STS budget - mixer lead`.

    The first sample of a fragment is due on air D after it came in. Before that the fragment must end (its length),
    go through STS (the budget), and be there when the mixer renders its first block (the lead).

    Args:
        delay_ms: D, from a sample's input to its output.
        sts_budget_ms: time granted to STS for one fragment, transport included.
        mixer_lead_ms: how long before the air the mixer renders a block.
        min_ns: the shortest fragment worth sending.

    Raises:
        ConfigurationError: a time is negative, or what D leaves is shorter than `min_ns`.
    """
    for name, value in (
        ("delay_ms", delay_ms),
        ("sts_budget_ms", sts_budget_ms),
        ("mixer_lead_ms", mixer_lead_ms),
    ):
        if value < 0:
            raise ConfigurationError(
                f"{name} is {value}, but a time cannot be negative.", remedy="Use 0 or more."
            )
    longest_ns = (delay_ms - sts_budget_ms - mixer_lead_ms) * NS_PER_MS
    if longest_ns < min_ns:
        min_ms = -(-min_ns // NS_PER_MS)
        needed_ms = sts_budget_ms + mixer_lead_ms + min_ms
        raise ConfigurationError(
            f"WORKER_DELAY_MS is {delay_ms}, which leaves {longest_ns // NS_PER_MS} ms for a fragment: the STS budget"
            f" takes {sts_budget_ms} ms and the mixer {mixer_lead_ms} ms, and a fragment needs {min_ms} ms.",
            remedy=f"Set WORKER_DELAY_MS to {needed_ms} or more, or grant STS less time.",
        )
    return longest_ns
