"""Uploads with their rows in a real Postgres."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from livedub.database.embedded_postgres import postgres_server
from livedub.media_cache.key import Variant, object_path
from livedub.media_cache.wire import METADATA_HEADER, AudioVariant, CacheMetadata, encode_metadata

from .media_rig import UploadService, auth, path_of

BODY = b"x" * 8_000


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres"), durable=False) as url:
        yield url


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[UploadService]:
    folder: Path = tmp_path_factory.mktemp("upload")
    with UploadService(folder, folder / "data", DATABASE_URL=database_url) as running:
        yield running


def upload(sentence: str, variant: Variant = Variant.ALAW) -> tuple[str, dict[str, str], str]:
    metadata = CacheMetadata(
        sentence=sentence, voice="es/a", model="m", variant=AudioVariant.of(variant, len(BODY)), ttl_s=3_600
    )
    return (
        object_path(metadata.key, variant),
        {**auth(), METADATA_HEADER: encode_metadata(metadata)},
        metadata.key,
    )


def encodings(database_url: str, key: str) -> list[str] | None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT variants FROM tts_media_cache WHERE hash = %s", [key]).fetchone()
    return None if row is None else [variant["encoding"] for variant in row[0]]


def test_a_row_has_the_variants_that_were_uploaded_and_goes_with_the_last(
    service: UploadService, database_url: str
):
    alaw, alaw_headers, key = upload("uno")
    pcm, pcm_headers, _ = upload("uno", Variant.PCM)
    assert service.request("PUT", alaw, BODY, alaw_headers).status == 201
    assert service.request("PUT", pcm, BODY, pcm_headers).status == 201
    assert service.request("PUT", alaw, BODY, alaw_headers).status == 204
    assert sorted(encodings(database_url, key) or []) == ["alaw", "pcm"]
    assert service.request("DELETE", alaw).status == 204
    assert encodings(database_url, key) == ["pcm"]
    assert service.request("DELETE", pcm).status == 204
    assert encodings(database_url, key) is None


def test_an_upload_that_is_refused_has_no_row(service: UploadService, database_url: str):
    path, headers, key = upload("dos")
    assert service.request("PUT", path, BODY[:100], headers).status == 422
    assert encodings(database_url, key) is None
    assert service.request("PUT", path_of("no metadata"), BODY).status == 201


def test_a_locked_row_neither_keeps_an_object_nor_lets_one_in_unseen(
    service: UploadService, database_url: str
):
    path, headers, key = upload("tres")
    assert service.request("PUT", path, BODY, headers).status == 201
    file = service.data_dir / path.removeprefix("/")
    with psycopg.connect(database_url) as holder:
        # What a clean-up does: it holds the row while it has the object deleted.
        holder.execute("SELECT hash FROM tts_media_cache WHERE hash = %s FOR UPDATE", [key])
        assert service.request("DELETE", path).status == 204
        assert not file.exists()
        assert service.request("PUT", path, BODY, headers).status == 503
        assert not file.exists()
        holder.execute("DELETE FROM tts_media_cache WHERE hash = %s", [key])
    assert encodings(database_url, key) is None
    assert service.request("PUT", path, BODY, headers).status == 201
    assert encodings(database_url, key) == ["alaw"]


def test_a_service_whose_catalogue_went_away_lives_and_is_not_ready(tmp_path: Path):
    with (
        postgres_server(tmp_path / "postgres", durable=False) as url,
        UploadService(tmp_path, tmp_path / "data", DATABASE_URL=url) as service,
    ):
        assert service.request("GET", "/ready").status == 200
    service = UploadService(tmp_path, tmp_path / "data", DATABASE_URL=url)
    with service:
        path, headers, _ = upload("cuatro")
        assert service.request("PUT", path, BODY, headers).status == 503
        assert service.request("GET", "/health").status == 200
        ready = service.request("GET", "/ready")
        assert (ready.status, b"catalogue" in ready.body) == (503, True)
