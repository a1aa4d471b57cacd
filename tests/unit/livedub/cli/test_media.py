import pytest
from typer.testing import CliRunner

from livedub.cli.main import app
from livedub.errors import ConfigurationError
from livedub.media_cache.key import Variant, cache_key, object_path
from tests.unit.livedub.media_cache.tls_files import self_signed

run = CliRunner().invoke


def test_a_path_is_where_consumers_look():
    result = run(app, ["media", "path", "Hola", "--voice", "es/a", "--model", "m", "--variant", "alaw"])
    assert result.stdout.strip() == object_path(cache_key("Hola", "es/a", "m"), Variant.ALAW)


def test_the_diagnosis_is_of_the_consumers_variable(monkeypatch: pytest.MonkeyPatch):
    certificate, _ = self_signed()
    monkeypatch.setenv("TTS_MEDIA_CACHE_CA_BUNDLE", certificate)
    result = run(app, ["media", "tls-diag"])
    assert result.exit_code == 0
    assert '"mediaCacheTlsMode": "bundle-pem"' in result.stdout
    monkeypatch.setenv("TTS_MEDIA_CACHE_CA_BUNDLE", certificate[:200])
    result = run(app, ["media", "tls-diag"])
    assert isinstance(result.exception, ConfigurationError)
    assert '"mediaCacheTlsMode": "invalid"' in result.stdout
