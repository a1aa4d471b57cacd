"""What MediaMTX runs when a path gets or loses its publisher: `python3 hook.py ready|not_ready`.

Posts a form (event, path, query, source_type, source_id) to LIVEDUB_HOOK_URL; without that variable it does
nothing. A hook is a hint that may be lost, so a receiver that cannot be reached is reported and left alone after
three tries. Standard library only: it runs on the media host's own Python.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

EVENTS = ("ready", "not_ready")

_TRIES = 3
_TIMEOUT_S = 2.0
_PAUSE_S = 0.5


def form(event: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The fields of one hook, from the variables MediaMTX sets for the command it runs."""
    return {
        "event": event,
        "path": environment.get("MTX_PATH", ""),
        "query": environment.get("MTX_QUERY", ""),
        "source_type": environment.get("MTX_SOURCE_TYPE", ""),
        "source_id": environment.get("MTX_SOURCE_ID", ""),
    }


def post(url: str, fields: Mapping[str, str]) -> str | None:
    """Send the form; return what went wrong, None when the receiver took it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", parts.path or "/", urlencode(fields), headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return None if 200 <= status < 300 else f"it answered {status}"


def main() -> int:
    """Send one hook; 0 when it was taken or nobody wants it, 1 when it was lost, 2 for wrong usage."""
    if len(sys.argv) != 2 or sys.argv[1] not in EVENTS:
        sys.stderr.write(f"usage: hook.py {'|'.join(EVENTS)}\n")
        return 2
    url = os.environ.get("LIVEDUB_HOOK_URL", "")
    if not url:
        return 0
    fields = form(sys.argv[1], os.environ)
    problem = None
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S * 2 ** (attempt - 1))
        problem = post(url, fields)
        if problem is None:
            return 0
    sys.stderr.write(f"hook {fields['event']} of {fields['path']} was lost: {problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
