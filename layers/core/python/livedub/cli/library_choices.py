"""Words that options of `livedub library` take: those of `livedub.library.types`, which is too heavy for a help text."""

from __future__ import annotations

from enum import Enum


class BucketChoice(str, Enum):
    """As BucketRole."""

    IN = "in"
    OUT = "out"


class StatusChoice(str, Enum):
    """As AssetStatus."""

    REGISTERED = "REGISTERED"
    READY = "READY"
    UNREADABLE = "UNREADABLE"
    GONE = "GONE"


class StateChoice(str, Enum):
    """As JobState."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class KindChoice(str, Enum):
    """As JobKind."""

    TRANSCODE = "transcode"
    TRIM = "trim"
    DUB = "dub"
