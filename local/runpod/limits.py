"""What a RunPod queue endpoint allows.

Source: docs.runpod.io, "Send API requests" (payloads, results, policies, 429) and "Handler functions" (chunk size),
for SDK 1.12.0. What the documentation leaves open is marked as ours.
"""

from __future__ import annotations

from dataclasses import dataclass

_MB = 1_000_000
_WEEK_S = 7 * 24 * 3_600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    run_body_bytes: int = 10 * _MB
    runsync_body_bytes: int = 20 * _MB
    result_bytes: int = 20 * _MB
    chunk_bytes: int = 1 * _MB
    """One element of a stream."""
    runsync_wait_s: float = 90.0
    """Ours: how long /runsync waits for the job unless `wait` says otherwise."""
    runsync_wait_longest_s: float = 300.0
    kept_after_run_s: float = 30 * 60.0
    kept_after_runsync_s: float = 60.0
    execution_timeout_s: float = 600.0
    execution_timeout_shortest_s: float = 5.0
    """Exclusive."""
    ttl_s: float = 24 * 3_600.0
    ttl_shortest_s: float = 10.0
    ttl_longest_s: float = _WEEK_S
    queued_jobs: int = 500
    """One worker's share of the documented 500 per worker; one more is 429."""
    held_bytes: int = 256 * _MB
    """Ours: inputs, results and chunks of one endpoint; over it old results go first, then jobs are refused."""
    retries: int = 2
    """Ours: how often a job whose worker vanished is given to another before it fails."""
    take_wait_s: float = 20.0
    """Ours: how long a worker's request for jobs is held open; the SDK gives up after 90 s."""
    stop_wait_s: float = 60.0
    """Ours: the same for its request for jobs to stop; the SDK pauses a second after an empty answer."""
    worker_silence_s: float = 30.0
    """Ours: a worker that has not been heard for so long is gone; the SDK pings every 10 s."""
    workers: int = 64
    """Ours: workers remembered at once."""
