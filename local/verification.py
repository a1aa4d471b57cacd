"""`python -m local.verification IN.flv OUT.flv --out report.json`: the verifier as a process that can be stopped."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from livedub.errors import LivedubError
from livedub.verify.report import verify_recordings


def main() -> int:
    """Measure two recordings and write the report; the verdict is in it, not in the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.verification", description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--events", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--sts-url", default="")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        report = verify_recordings(arguments.input, arguments.output, arguments.events)
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    arguments.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
