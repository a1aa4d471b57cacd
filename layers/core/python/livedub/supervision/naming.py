"""Names of executions. A name removes duplicates of one start; what makes a worker the only one is the lease."""

from __future__ import annotations

import hashlib

from livedub.supervision.record import StreamRecord

_SLUG_LENGTH = 40


def execution_name(stream_id: str, source_id: str, *, salt: str = "") -> str:
    """A name for the run of `stream_id` that `source_id` starts: at most 80 characters of `[A-Za-z0-9_-]`.

    The same arguments give the same name, so a start repeated while the run lasts starts nothing. A name is used up
    once its run is over (for 90 days): `salt` tells later starts for the same source apart.
    """
    of_stream = hashlib.sha256(stream_id.encode()).hexdigest()[:8]
    of_start = hashlib.sha256(f"{source_id}\n{salt}".encode()).hexdigest()[:20]
    return f"{stream_id[:_SLUG_LENGTH]}-{of_stream}-{of_start}"


def next_execution_name(record: StreamRecord, *, salt: str = "") -> str:
    """The name of the run that shall follow what `record` says: one per source and generation, and `salt` where given."""
    source_id = record.source.source_id if record.source else ""
    return execution_name(record.stream_id, source_id, salt=f"g{record.lease.generation}{salt}")


def successor_name(stream_id: str, execution: str) -> str:
    """The name of the run that `execution` rolls over into."""
    return execution_name(stream_id, execution, salt="roll-over")
