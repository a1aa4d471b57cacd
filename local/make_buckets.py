"""`python -m local.make_buckets`: the library's two buckets in the S3-compatible storage that S3_* names.

Once and again: what is there stays as it is. This is what the service `minio-init` of media_edge/compose.yaml runs; in
AWS the deployment makes them.
"""

from __future__ import annotations

import sys

from livedub.errors import ConfigurationError, LivedubError
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage

EXIT_FAILED = 2


def main() -> int:
    """Exit codes: 0 they are there, 2 they could not be made."""
    try:
        settings = LibrarySettings.load()
        if not settings.endpoint_url:
            raise ConfigurationError(
                "S3_ENDPOINT_URL is not set, which means AWS: the deployment makes buckets there.",
                remedy="Name the storage, such as http://minio:9000.",
            )
        storage = LibraryStorage(settings)
        storage.ensure_buckets()
    except LivedubError as error:
        print(f"make-buckets: {error}", file=sys.stderr)  # noqa: T201 - a command's last word
        return EXIT_FAILED
    print(f"{storage.bucket_in} and {storage.bucket_out} are there.")  # noqa: T201 - what it was run for
    return 0


if __name__ == "__main__":
    sys.exit(main())
