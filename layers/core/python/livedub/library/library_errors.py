"""What can be wrong in the library, each with a code that never changes and a sentence that says what to do."""

from __future__ import annotations

from enum import Enum

from livedub.errors import LivedubError


class LibraryErrorCode(str, Enum):
    """Codes that callers, job rows and tests rely on; a code keeps its meaning for ever."""

    NO_SUCH_KEY = "NO_SUCH_KEY"
    NO_SUCH_BUCKET = "NO_SUCH_BUCKET"
    ACCESS_DENIED = "ACCESS_DENIED"
    ENDPOINT_DOWN = "ENDPOINT_DOWN"
    """Nobody answers at the storage's address, or it says that it cannot now; worth another try."""
    BAD_KEY = "BAD_KEY"
    DISK_FULL = "DISK_FULL"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    """The object was replaced while it was being read."""
    STORAGE_REFUSED = "STORAGE_REFUSED"
    """The storage refused for a reason without a code of its own; its words are in the message."""
    NOT_MEDIA = "NOT_MEDIA"
    TRUNCATED = "TRUNCATED"
    EMPTY_FILE = "EMPTY_FILE"
    WRONG_EXTENSION = "WRONG_EXTENSION"
    UNSUPPORTED_TYPE = "UNSUPPORTED_TYPE"
    UNKNOWN_PRESET = "UNKNOWN_PRESET"
    TRIM_OUTSIDE_DURATION = "TRIM_OUTSIDE_DURATION"
    INVALID_REQUEST = "INVALID_REQUEST"
    NO_SUCH_ASSET = "NO_SUCH_ASSET"
    NO_SUCH_JOB = "NO_SUCH_JOB"
    ILLEGAL_TRANSITION = "ILLEGAL_TRANSITION"
    """Such as the cancellation of a finished job."""
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    OUTPUT_IN_USE = "OUTPUT_IN_USE"
    """Another job writes to the same key."""
    PRESET_BUILTIN = "PRESET_BUILTIN"
    """The preset comes with the program and cannot be changed or deleted."""
    FENCED = "FENCED"
    """Another attempt has taken over the job."""
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"
    WORK_FAILED = "WORK_FAILED"
    """The program or service that did the work failed; its last words are in the message."""
    UNAUTHORIZED = "UNAUTHORIZED"
    CALLBACK_FORGED = "CALLBACK_FORGED"
    CALLBACK_EXPIRED = "CALLBACK_EXPIRED"
    CALLBACK_REPLAYED = "CALLBACK_REPLAYED"
    PAGE_TOO_LARGE = "PAGE_TOO_LARGE"
    QUERY_TOO_DEEP = "QUERY_TOO_DEEP"
    QUERY_TOO_LARGE = "QUERY_TOO_LARGE"
    """A GraphQL query that asks for too many fields, or uses too many words."""
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    NO_SUCH_ROUTE = "NO_SUCH_ROUTE"
    MISCONFIGURED = "MISCONFIGURED"
    """A setting of the deployment is missing or wrong; the log names it."""
    INTERNAL = "INTERNAL"
    """What nobody expected; the log has it."""
    CATALOGUE_DOWN = "CATALOGUE_DOWN"
    QUEUE_DOWN = "QUEUE_DOWN"


_WORTH_A_RETRY = frozenset(
    {
        LibraryErrorCode.ENDPOINT_DOWN,
        LibraryErrorCode.DISK_FULL,
        LibraryErrorCode.SOURCE_CHANGED,
        LibraryErrorCode.CATALOGUE_DOWN,
        LibraryErrorCode.QUEUE_DOWN,
    }
)


class LibraryError(LivedubError):
    """What went wrong with a file, a job or the storage."""

    def __init__(self, code: LibraryErrorCode, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code

    @property
    def retryable(self) -> bool:
        """Whether the same request may well succeed later, with nothing changed by its sender."""
        return self.code in _WORTH_A_RETRY


class MissingKeyError(LibraryError):
    """NO_SUCH_KEY: the bucket holds no such object."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(
            LibraryErrorCode.NO_SUCH_KEY,
            f"{bucket} has no object {key!r}.",
            "List what is there: livedub library ls.",
        )
        self.bucket = bucket
        self.key = key


class MissingBucketError(LibraryError):
    """NO_SUCH_BUCKET: the storage answers, but has no such bucket."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            LibraryErrorCode.NO_SUCH_BUCKET,
            f"There is no bucket {bucket!r}.",
            "Check S3_BUCKET_IN and S3_BUCKET_OUT; livedub up creates both on one machine, cdk deploy in AWS.",
        )
        self.bucket = bucket


class AccessDeniedError(LibraryError):
    """ACCESS_DENIED: the storage knows us not, or lets us not do this."""

    def __init__(self, what: str) -> None:
        super().__init__(
            LibraryErrorCode.ACCESS_DENIED,
            f"The storage refuses {what}.",
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the role), and what they may do on this bucket.",
        )


class StorageUnavailableError(LibraryError):
    """ENDPOINT_DOWN: nobody answers at the storage's address, or it is too busy."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            LibraryErrorCode.ENDPOINT_DOWN,
            f"The storage cannot be reached for {what}: {reason}",
            "Check S3_ENDPOINT_URL (empty means AWS) and that the server runs.",
        )


class StorageRefusedError(LibraryError):
    """STORAGE_REFUSED: the storage refused for a reason of its own."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(LibraryErrorCode.STORAGE_REFUSED, f"The storage refuses {what}: {reason}")


class SourceChangedError(LibraryError):
    """SOURCE_CHANGED: the object was replaced while it was being read."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(
            LibraryErrorCode.SOURCE_CHANGED,
            f"{bucket}/{key} was replaced while it was being read.",
            "Read it again.",
        )


class BadKeyError(LibraryError):
    """BAD_KEY: the key breaks the rules of `object_keys`."""

    def __init__(self, key: str, problem: str) -> None:
        shown = key if len(key) <= 80 else f"{key[:77]}..."
        super().__init__(
            LibraryErrorCode.BAD_KEY,
            f"The key {shown!r} {problem}.",
            "Keys are relative paths like folder/clip.mp4: at most 1,024 bytes of UTF-8, no empty, '.' or '..' parts, "
            "no control characters.",
        )
        self.key = key


class DiskFullError(LibraryError):
    """DISK_FULL: the work folder has no room."""

    def __init__(
        self, folder: object, *, needed_bytes: int | None = None, free_bytes: int | None = None
    ) -> None:
        figures = (
            ""
            if needed_bytes is None or free_bytes is None
            else f": {needed_bytes} bytes are needed, {free_bytes} are free"
        )
        super().__init__(
            LibraryErrorCode.DISK_FULL,
            f"There is no room in {folder}{figures}.",
            "Free space there, or point LIBRARY_WORK_DIR to a larger disk.",
        )
