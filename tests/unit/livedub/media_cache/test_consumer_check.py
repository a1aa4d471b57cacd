import re
from pathlib import Path

import pytest

from livedub.media_cache.consumer_check import Fault, Seen, Verdict, judge

SCRIPT = Path(__file__).resolve().parents[4] / "media_edge/cache/check-tts-media-cache-tls.sh"
GOOD = {"address": "https://10.0.1.30:8443", "health": 200, "delete": 404}


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        ({}, Fault.NONE),
        ({"delete": 0}, Fault.NONE),
        ({"bundle_set": False}, Fault.NONE),
        ({"bundle_error": "the CA bundle is cut off."}, Fault.CORRUPT_BUNDLE),
        ({"bundle_needs_rewrap": True}, Fault.CORRUPT_BUNDLE),
        ({"connect_error": "refused"}, Fault.UNREACHABLE),
        ({"verify_code": 18, "bundle_set": False}, Fault.MISSING_BUNDLE),
        ({"verify_code": 18}, Fault.STALE_BUNDLE),
        ({"verify_code": 20}, Fault.STALE_BUNDLE),
        ({"verify_code": 10}, Fault.EXPIRED),
        ({"verify_code": 18, "expired": True, "bundle_set": False}, Fault.EXPIRED),
        ({"verify_code": 62}, Fault.NAME_MISMATCH),
        ({"verify_code": 64, "bundle_set": False}, Fault.NAME_MISMATCH),
        ({"health": 404}, Fault.UNREACHABLE),
        ({"delete": 401}, Fault.TOKEN_DRIFT),
        ({"not_ready": ("the volume is full",)}, Fault.DISK_FULL),
        ({"not_ready": ("the volume is nearly full", "x")}, Fault.DISK_FULL),
        ({"not_ready": ("the catalogue does not answer",)}, Fault.NOT_READY),
    ],
)
def test_what_is_seen_has_its_verdict(found: dict[str, object], fault: Fault):
    verdict = judge(Seen(**{**GOOD, **found}))  # pyright: ignore[reportArgumentType]
    assert verdict.fault is fault
    line = verdict.line()
    assert line.startswith(f"VERDICT {fault.value}: https://10.0.1.30:8443: ")
    assert "\n" not in line
    assert ".." not in line
    assert line.endswith(f"Remedy: {verdict.remedy}.")


def test_every_fault_has_a_remedy():
    assert all(Verdict(fault, "x").remedy for fault in Fault)


def test_the_script_knows_the_same_faults():
    words = set(re.findall(r"^    ([a-z-]+)\) remedy=", SCRIPT.read_text(), flags=re.MULTILINE))
    assert words | {"not-ready"} == {fault.value for fault in Fault}
