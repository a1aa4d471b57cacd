"""What the registry says of Coqui's voices is what the coqui-tts that is installed says."""

# pyright: reportMissingImports=false

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from TTS.tts.configs.vits_config import VitsConfig

from gpu_handler.coqui_archive import catalogue_entry
from gpu_handler.model_registry import REGISTRY_PATH, ModelRegistry
from tests.unit.gpu_handler.fake_hub import running_hub


def test_licences_are_those_of_coquis_own_catalogue():
    models = ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes()).models
    voices = {name: model for name, model in models.items() if model.coqui}
    assert voices
    for name, model in voices.items():
        theirs = str(catalogue_entry(model.coqui)["license"])
        assert model.licence.lower().replace("-", " ") == theirs.lower().replace("-", " "), name


def test_every_voice_is_one_zip_file():
    models = ModelRegistry.model_validate_json(REGISTRY_PATH.read_bytes()).models
    for model in models.values():
        if model.coqui:
            assert str(catalogue_entry(model.coqui)["github_rls_url"]).startswith("https://")


def test_xtts_asks_for_coquis_terms():
    entry = catalogue_entry("tts_models/multilingual/multi-dataset/xtts_v2")
    assert entry["license"] == "CPML"
    assert entry["tos_required"] is True


DOWNLOAD_TWICE = """
import shutil, sys
from pathlib import Path
from TTS.tts.configs.vits_config import VitsConfig
from TTS.utils.manage import ModelManager
home, folder = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(2):
    model, config, _ = ModelManager(models_file=folder / "catalogue.json").download_model("tts_models/en/ds/vits")
    assert model.is_relative_to(home) and model.read_bytes() == b"weights" and config.is_file()
    shutil.rmtree(home)
"""


def test_coquis_own_cache_may_be_deleted_and_is_rebuilt(tmp_path: Path):
    VitsConfig().save_json(str(tmp_path / "config.json"))
    with zipfile.ZipFile(tmp_path / "voice.zip", "w") as archive:
        archive.write(tmp_path / "config.json", "voice/config.json")
        archive.writestr("voice/model_file.pth", b"weights")
    home = tmp_path / "coqui"
    with running_hub() as hub:
        hub.plain["/voice.zip"] = (tmp_path / "voice.zip").read_bytes()
        catalogue = {"tts_models": {"en": {"ds": {"vits": {"github_rls_url": f"{hub.url}/voice.zip"}}}}}
        (tmp_path / "catalogue.json").write_text(json.dumps(catalogue))
        # A process of its own: in this one nothing may connect, not even to loopback.
        command = [sys.executable, "-c", DOWNLOAD_TWICE, str(home), str(tmp_path)]
        subprocess.run(command, env={**os.environ, "TTS_HOME": str(home)}, check=True, timeout=100)
        assert hub.downloads == ["/voice.zip"] * 2
