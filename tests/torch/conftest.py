"""Tests of the engines that need torch: `make test-torch` runs them in .venv-torch. Without torch there are none."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_handler.engines.convert import convert
from gpu_handler.settings import StsSettings

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first pays for the libraries' imports and for building every model."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    """No model library may reach for a network: connecting and looking up names are errors."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"a model library tried to connect: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket.socket, "connect_ex", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model for all of them."""
    from tests.torch.tiny_models import train_pieces  # noqa: PLC0415 - needs torch

    return train_pieces(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="session")
def models_home(tmp_path_factory: pytest.TempPathFactory, pieces: Path) -> Path:
    """A folder of tiny models, laid out as `livedub models fetch` lays out real ones, with their conversions."""
    from tests.torch import tiny_models as tiny  # noqa: PLC0415 - needs torch

    home = tmp_path_factory.mktemp("models")
    tiny.build_marian(home / "opus-mt-en-es", pieces, seed=1)
    tiny.build_marian(home / "opus-mt-es-en", pieces, seed=2, pair=("es", "en"))
    tiny.build_m2m100(home / "m2m100-418m", pieces)
    tiny.build_nllb(home / "nllb-200-distilled-600m", pieces)
    for model in list(home.iterdir()):
        # here, where torch is loaded already; one test has an engine do it in a process of its own
        convert(model, home / f"{model.name}.ct2-float32", "float32")
    return home


@pytest.fixture(scope="session")
def voices_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny voices, laid out as `livedub models fetch` lays out Coqui's."""
    from tests.torch import tiny_models, tiny_voices  # noqa: PLC0415 - needs torch

    home = tmp_path_factory.mktemp("voices")
    tiny_voices.build_vits(home / "coqui-vits-es-css10", seed=1)
    tiny_voices.build_vits(home / "coqui-vits-en-vctk", speakers=("p225", "p 226"), seed=2)
    tiny_voices.build_xtts(home / "xtts-v2", tiny_models.SENTENCES, speakers=("Ana Florence",))
    return home


@pytest.fixture(scope="session")
def settings(models_home: Path, voices_home: Path) -> StsSettings:
    """Exact arithmetic, so that two libraries can be compared; one thread, the models are too small to share."""
    return StsSettings(
        mt_model_dir=models_home, coqui_model_dir=voices_home, mt_compute_type="float32", cpu_threads=1
    )
