"""Looks at what a stream left behind in the parts that were deployed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livedub.errors import LivedubError
from livedub.library.api.api_types import AssetFilter
from livedub.library.api.rest_client import LibraryApi
from livedub.library.object_keys import LIVE
from livedub.timeline.subtitles import read_timing
from local.aws import deployment
from local.rehearsal.catalogue_store import count_stored
from local.rehearsal.deployed import DeployedEnvironment
from local.rehearsal.verdict import Verdict

_UPLOAD_S, _POLL_S = 30.0, 0.25


async def look(deployed: DeployedEnvironment, verdict: Verdict, *, speech_is_kept: bool) -> None:
    """Note for each part whether it had its share; one that fails hides no other.

    `speech_is_kept` says whether the stream's dubs are such as the media cache stores: engines that only pretend make none.
    """
    looks: dict[str, Callable[[DeployedEnvironment], tuple[bool, str]]] = {
        "state machine": _executions,
        "warm-up function": _warm_up,
        **({"media cache": _stored} if speech_is_kept else {}),
        "clean-up function": _clean_up,
        "subtitles": _subtitles,
        "library API": _library,
    }
    for name, one in looks.items():
        try:
            well, said = await asyncio.to_thread(one, deployed)
        except LivedubError as error:
            well, said = False, str(error)
        verdict.note(name, said, well=well)


def _executions(deployed: DeployedEnvironment) -> tuple[bool, str]:
    found = deployed.executions(deployed.output("control-plane", "StateMachineArn"))
    return set(found.values()) == {"SUCCEEDED"}, ", ".join(
        f"{name} {status}" for name, status in found.items()
    )


def _warm_up(deployed: DeployedEnvironment) -> tuple[bool, str]:
    """The stream's beginning has the endpoint looked at; its worker is there already."""
    said = [line for line in deployed.function_log("workers", "StsWarmUpWarmSts") if "was found" in line]
    return any("was found ready" in line for line in said), f"looked at RunPod {len(said)} times"


def _stored(deployed: DeployedEnvironment) -> tuple[bool, str]:
    stored = count_stored(deployed.catalogue_url())
    return stored > 0, f"{stored} dubs in the catalogue, on RDS"


def _clean_up(deployed: DeployedEnvironment) -> tuple[bool, str]:
    answer = deployed.call_function("media-cache", "MediaCacheCleanup", {"dry_run": True})
    return not answer.get("problem") and answer.get("complete") is True, f"a dry run answers {answer}"


def _subtitles(deployed: DeployedEnvironment) -> tuple[bool, str]:
    """What the stream left on its host; the agent uploads it beside, once the worker has ended."""
    bucket = deployed.output("state", "MediaBucketIn")
    end_s = time.monotonic() + _UPLOAD_S
    while not (left := deployed.objects(bucket, LIVE)) and time.monotonic() < end_s:
        time.sleep(_POLL_S)
    cues = {key: _cues(content.decode("utf-8", "replace")) for key, content in left.items()}
    found = ", ".join(f"{key}: {count} cues" for key, count in cues.items())
    return any(cues.values()), f"in the bucket {found}" if found else "nothing below live/ in the bucket"


def _cues(text: str) -> int:
    return sum(1 for line in text.splitlines() if read_timing(line))


def _library(deployed: DeployedEnvironment) -> tuple[bool, str]:
    token = deployment.secret(deployed.endpoint, deployed.output("state", "LibraryApiTokenSecret"))
    with LibraryApi(deployed.output("media-library", "LibraryApiUrl"), token) as api:
        found = api.scan()
        known = [asset.key for asset in api.assets(AssetFilter(prefix=LIVE))]
    entered = ", ".join(known) or "no stream"
    return bool(known), f"a scan answers {found.model_dump()}; entered is {entered}"
