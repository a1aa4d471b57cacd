"""What .venv-torch must hold so that coqui-tts runs beside a torch with or without CUDA."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import torch
import torchaudio
from torchcodec.decoders import AudioDecoder
from torchcodec.encoders import AudioEncoder


def test_torchaudio_has_its_python_part_alone():
    """Its compiled part is linked against CUDA: beside a CPU torch the import would fail on it."""
    assert not list((Path(str(torchaudio.__file__)).parent / "lib").glob("*.so"))
    tone = torch.sin(torch.arange(24_000) * 0.1).unsqueeze(0)
    assert torchaudio.functional.resample(tone, 24_000, 16_000).shape == (1, 16_000)
    assert torchaudio.transforms.MelSpectrogram(16_000, n_mels=40)(tone).shape[1] == 40


def test_torchcodec_does_more_than_lie_there(tmp_path: Path):
    """coqui-tts asks only whether it is installed; releases after 0.13 want CUDA's libraries when they are used."""
    assert version("torchcodec") == "0.13.0"
    tone = 0.5 * torch.sin(torch.arange(16_000) * 0.1).unsqueeze(0)
    path = str(tmp_path / "tone.wav")
    AudioEncoder(tone, sample_rate=16_000).to_file(path)
    read = AudioDecoder(path).get_all_samples()
    assert read.sample_rate == 16_000
    assert torch.allclose(read.data, tone, atol=1e-3)


def test_torchaudio_reads_and_writes_through_torchcodec(tmp_path: Path):
    path = str(tmp_path / "tone.wav")
    torchaudio.save(path, 0.1 * torch.ones(1, 1_600), 16_000)
    samples, rate_hz = torchaudio.load(path)
    assert (tuple(samples.shape), rate_hz) == ((1, 1_600), 16_000)


def test_the_pinned_versions_are_installed():
    pins = Path(__file__).parents[2] / "setup" / "sts-torch.in"
    for line in pins.read_text().splitlines():
        name, separator, wanted = line.partition("==")
        if separator:
            assert version(name).split("+")[0] == wanted, name
