"""Which parts of the other stacks the observability stack looks at."""

from __future__ import annotations

from infra.constructs.alarms_of_streams import Queue
from infra.stacks.control_plane import ControlPlaneStack
from infra.stacks.media import MediaStack
from infra.stacks.media_cache import MediaCacheStack
from infra.stacks.media_library import MediaLibraryStack
from infra.stacks.observability import Host, Snapshots, Watched
from infra.stacks.state import StateStack
from infra.stacks.workers import WorkersStack


def watched_parts(
    *,
    state: StateStack,
    control_plane: ControlPlaneStack,
    media: MediaStack,
    workers: WorkersStack,
    media_cache: MediaCacheStack,
    media_library: MediaLibraryStack,
) -> Watched:
    """What there is to watch in these stacks."""
    hosts = [
        Host(stack, name, instance.ref)
        for stack, name, instance in (
            (media, "media-host", media.host.instance),
            (workers, "gpu-host", workers.gpu_host.instance if workers.gpu_host else None),
            (media_cache, "media-cache-host", media_cache.host.instance),
        )
        if instance is not None
    ]
    snapshots = [
        Snapshots(stack, name, made.policy.ref)
        for stack, name, made in (
            (media, "recordings", media.host.snapshots),
            (media_cache, "media-data", media_cache.host.snapshots),
        )
        if made is not None
    ]
    return Watched(
        reconcile=control_plane.functions["ReconcileStreams"],
        streams_work=Queue("streams", control_plane.work.queue, control_plane.work.dead_letters),
        jobs_work=Queue("library", media_library.work.queue, media_library.work.dead_letters),
        apis={"control-api": control_plane.control_api.api, "library-api": media_library.api.api},
        database=state.database.instance,
        function_stacks={
            "control-plane": control_plane,
            "workers": workers,
            "media-cache": media_cache,
            "media-library": media_library,
        },
        hosts=hosts,
        snapshots=snapshots,
        groups={"workers": workers.fleet.group_name},
        group_services={"workers": workers.fleet.logs.service},
        has_media_host=media.host.instance is not None,
        has_rotation=media_cache.rotation.machine is not None,
    )
