"""The clean-up as it is deployed: packed, started by a schedule of an AWS, with a cache over HTTPS beside it."""

import io
import zipfile
from pathlib import Path

import psycopg
import pytest

from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.key import Variant
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.wire import AudioVariant, CacheMetadata
from tests.integration.local_aws.rig import Aws, eventually, name, running_server

from .media_rig import ROOT, TOKEN, MediaHost

AN_HOUR_IN_A_SECOND = "3600"
BODY = b"x" * 800


def packed(folder: Path, *, below: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, below + str(file.relative_to(folder)))
    return buffer.getvalue()


def metadata(sentence: str, variant: Variant, ttl_s: int | None) -> CacheMetadata:
    described = AudioVariant.of(variant, len(BODY))
    return CacheMetadata(
        sentence=sentence, voice="es/ef_dora", model="kokoro", variant=described, ttl_s=ttl_s
    )


def deploy(aws: Aws, variables: dict[str, str]) -> str:
    layer = aws.functions.publish_layer_version(
        LayerName=name("livedub"),
        Content={"ZipFile": packed(ROOT / "layers/core/python", below="python/")},
    )
    return aws.functions.create_function(
        FunctionName=name("media-cache-cleanup"),
        Runtime="python3.11",
        Role=aws.role,
        Handler="handler.handler",
        Timeout=60,
        Code={"ZipFile": packed(ROOT / "functions/media_cache_cleanup")},
        Layers=[layer["LayerVersionArn"]],
        Environment={"Variables": variables},
    )["FunctionArn"]


def rows(database_url: str) -> list[str]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return [row[0] for row in connection.execute("SELECT sentence FROM tts_media_cache ORDER BY 1")]


@pytest.mark.slow
def test_every_hour_what_is_over_goes_with_all_its_variants(tmp_path: Path, database_url: str):
    with MediaHost(tmp_path, DATABASE_URL=database_url) as host:
        address, bundle = (host.variables[f"TTS_MEDIA_CACHE_{part}"] for part in ("BASE_URL", "CA_BUNDLE"))
        with MediaCacheClient(
            [address], token=TOKEN, tls=parse_ca_bundle(bundle), deadline_ms=30_000
        ) as cache:
            for variant in Variant:
                assert cache.put(metadata("Over soon.", variant, ttl_s=1), BODY)
            assert cache.put(metadata("For ever.", Variant.PCM, ttl_s=None), BODY)
        assert rows(database_url) == ["For ever.", "Over soon."]
        with running_server("--schedule-speed", AN_HOUR_IN_A_SECOND) as server:
            aws = Aws(server.endpoint)
            variables = {
                "DATABASE_URL": database_url,
                "TTS_MEDIA_CACHE_BASE_URL": address,
                "TTS_MEDIA_CACHE_CA_BUNDLE": bundle,
                "TTS_MEDIA_CACHE_UPLOAD_TOKEN": TOKEN,
            }
            aws.rule_to({"Arn": deploy(aws, variables)}, ScheduleExpression="rate(1 hour)", State="ENABLED")
            eventually(lambda: rows(database_url) == ["For ever."], "the row is gone", bound_s=90)
        assert [file.suffix for file in host.objects()] == [".pcm"]
