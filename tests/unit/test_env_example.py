"""`.env.example` says exactly what the settings classes say."""

from pathlib import Path

from gpu_handler.settings import StsSettings
from livedub.library.library_settings import LibrarySettings
from livedub.media_cache.cleanup_settings import MediaCleanupSettings
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.media_cache.tls_rotation.rotation_settings import TlsRotationSettings
from livedub.settings import render_env_example
from livedub.sts.runpod_account_settings import RunpodAccountSettings
from livedub.supervision.function_settings import (
    ApiSettings,
    ReconcileFunctionSettings,
    WarmUpFunctionSettings,
)
from livedub.supervision.policy import SupervisionPolicy
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.upload_settings import UploadSettings
from media_edge.mediamtx.recordings import RecordingsSettings
from media_edge.mediamtx.relay.settings import RelaySettings
from media_edge.worker.agent.settings import AgentSettings
from media_edge.worker.settings import WorkerSettings

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"
GROUPS = [
    ("Stream worker: python -m media_edge.worker run", WorkerSettings),
    ("Worker host: python -m media_edge.worker agent", AgentSettings),
    ("Media host: python -m media_edge.mediamtx.relay", RelaySettings),
    ("Media host that records: python -m media_edge.mediamtx.recordings", RecordingsSettings),
    ("Lambda functions: set by the CDK app", ReconcileFunctionSettings),
    ("Lambda function stream_api, besides", ApiSettings),
    ("Lambda function warm_sts", WarmUpFunctionSettings),
    ("Supervision's patience, of all functions and the agent", SupervisionPolicy),
    ("STS service: python -m gpu_handler serve", StsSettings),
    ("RunPod account: livedub runpod", RunpodAccountSettings),
    ("Media cache's upload service: python -m media_edge.cache serve", UploadSettings),
    ("Media cache on one machine, besides: python -m media_edge.cache up, livedub media up", HostSettings),
    ("Media cache's certificate: livedub media tls-init, rotate", MediaTlsSettings),
    ("Media cache's clean-up: livedub media cleanup, function media_cache_cleanup", MediaCleanupSettings),
    ("Media cache's rotation: functions of rotate_tls, set by the CDK app", TlsRotationSettings),
    ("Consumers of the media cache: stream worker, STS service over HTTP", MediaCacheSettings),
    ("Media library: storage, catalogue, jobs", LibrarySettings),
]


def test_env_example_matches_the_settings_classes():
    assert EXAMPLE.read_text() == render_env_example(GROUPS), "run `make env-example`"


if __name__ == "__main__":
    EXAMPLE.write_text(render_env_example(GROUPS))
