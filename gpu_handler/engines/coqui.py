"""Coqui's VITS voices: one network from text to waveform, lines of many streams padded to one batch.

Each folder `coqui-vits-<language>-<dataset>` is one voice (`es/vits-css10`), or one per speaker that the model knows
(`en/vits-vctk-p225`). A voice of the registry with engine `coqui` is another name for one of them: its `model` is the
folder, or `<folder>/<speaker>`.
"""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpu_handler import models
from gpu_handler.engines import licences
from gpu_handler.engines.base import EngineInfo, Line, Samples, Speech
from gpu_handler.engines.batches import in_groups
from gpu_handler.engines.calibration import PaceCalibration
from gpu_handler.settings import StsSettings
from gpu_handler.voices import VoiceRegistry
from livedub.errors import ConfigurationError, MissingPrerequisiteError

ENGINE = "coqui"

_FOLDER = re.compile(r"coqui-vits-([a-z]{2,3})-([A-Za-z0-9_.-]+)")
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.-]+")
_MIN_SPEED = 0.75
_MAX_SPEED = 1.3
_MS_PER_CHARACTER = 68.0
_LONGEST_CHARACTERS = 1_000
"""Of one line: a fragment of speech has a tenth of it."""


@dataclass(frozen=True, slots=True)
class VitsModel:
    """A loaded VITS and how many samples one of its latent frames becomes."""

    name: str
    network: Any
    torch: Any
    sample_rate_hz: int
    samples_per_frame: int

    def speakers(self) -> dict[str, int]:
        """Name to number of each speaker; empty for a model of one."""
        manager = self.network.speaker_manager
        return dict(manager.name_to_id) if manager is not None and self.network.num_speakers > 1 else {}

    def say(
        self, texts: Sequence[str], speaker: int | None, speeds: Sequence[float], seed: int
    ) -> list[Samples]:
        """Speak every text; silence of no length where a text holds no sign that the model knows."""
        torch, network = self.torch, self.network
        tokens = [self._tokens(text) for text in texts]
        spoken = [index for index, numbers in enumerate(tokens) if numbers]
        said: list[Samples] = [np.zeros(0, dtype=np.float32)] * len(texts)
        if not spoken:
            return said
        device = next(network.parameters()).device
        lengths = torch.tensor([len(tokens[index]) for index in spoken], device=device)
        padded = torch.zeros((len(spoken), int(lengths.max())), dtype=torch.long, device=device)
        for row, index in enumerate(spoken):
            padded[row, : len(tokens[index])] = torch.tensor(tokens[index], device=device)
        speaker_ids = None if speaker is None else torch.full((len(spoken),), speaker, device=device)
        paces = torch.tensor([speeds[index] for index in spoken], device=device)
        with self._stretched(1.0 / paces), torch.inference_mode():
            torch.manual_seed(seed)
            outputs = network.inference(
                padded, aux_input={"x_lengths": lengths, "speaker_ids": speaker_ids, **self._no_conditions()}
            )
        waves = outputs["model_outputs"][:, 0].float().cpu().numpy()
        frames = outputs["y_mask"].sum(dim=(1, 2)).long().tolist()
        for row, index in enumerate(spoken):
            said[index] = np.ascontiguousarray(waves[row, : frames[row] * self.samples_per_frame])
        return said

    def _tokens(self, text: str) -> list[int]:
        cleaned = " ".join(text.split())[:_LONGEST_CHARACTERS]
        tokenizer = self.network.tokenizer
        numbers: list[int] = tokenizer.text_to_ids(cleaned, language=None)
        blank = tokenizer.characters.blank_id if tokenizer.characters.blank else None
        pad = tokenizer.characters.pad_id if tokenizer.characters.pad else None
        return numbers if any(number not in (blank, pad) for number in numbers) else []

    def _no_conditions(self) -> dict[str, None]:
        return {"d_vectors": None, "language_ids": None, "durations": None}

    @contextmanager
    def _stretched(self, factors: Any) -> Iterator[None]:
        """The network's own length scale, times one factor per line of the batch."""
        scale = self.network.length_scale
        self.network.length_scale = scale * factors.view(-1, 1, 1)
        try:
            yield
        finally:
            self.network.length_scale = scale


@dataclass(frozen=True, slots=True)
class _Voice:
    model: VitsModel
    speaker: int | None


class VitsSynthesizer:
    """Every VITS model in `STS_COQUI_MODEL_DIR`."""

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._voices: dict[str, _Voice] = {}
        self._names: tuple[str, ...] = ()
        self._licence = licences.UNKNOWN
        self._pace = PaceCalibration(_MS_PER_CHARACTER)
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """Name, models and licence."""
        return EngineInfo(
            ENGINE,
            ", ".join(self._names) or "vits",
            self._licence.name,
            max_batch=self._settings.tts_max_batch,
            commercial_use=self._licence.commercial_use,
        )

    def load(self) -> None:
        """Load every model and speak a number with each.

        Raises:
            ConfigurationError: the registry names a model or a speaker that is not there, or a licence forbids it.
            MissingPrerequisiteError: there is no model, or a library is missing.
        """
        found = vits_folders(self._settings)
        self._licence = licences.of_all(
            [licences.licence_of(folder.name, licences.UNKNOWN) for folder in found.values()]
        )
        voices: dict[str, _Voice] = {}
        by_model: dict[str, _Voice] = {}
        for (language, dataset), folder in found.items():
            licences.permit(folder.name, licences.licence_of(folder.name, licences.UNKNOWN), self._settings)
            model = load_vits(folder, self._settings)
            by_model |= _by_model(model)
            voices |= _by_id(model, language, dataset)
        voices |= self._registered(by_model)
        for name in found.values():
            voice = by_model[name.name]
            voice.model.say(["1, 2, 3."], voice.speaker, [1.0], 0)
        self._names = tuple(folder.name for folder in found.values())
        self._voices = voices

    def close(self) -> None:
        """Free the models."""
        with self._lock:
            self._voices = {}

    def voices(self) -> dict[str, tuple[str, ...]]:
        """Language to voice ids, in the order of their folders."""
        languages: dict[str, tuple[str, ...]] = {}
        for name in self._voices:
            language = name.split("/", 1)[0]
            languages[language] = (*languages.get(language, ()), name)
        return languages

    def natural_duration_ms(self, text: str, *, voice: str) -> int:
        """Estimated duration at speed 1, from the number of characters and what this voice took before."""
        return self._pace.estimate_ms(voice, len(text))

    def synthesize(self, batch: Sequence[Line]) -> list[Speech]:
        """Speak; lines of one voice's model and seed run as one batch.

        Raises:
            KeyError: a voice is not in `voices()`.
        """
        with self._lock:
            keys = [
                (id(self._voices[line.voice].model), self._voices[line.voice].speaker, line.seed)
                for line in batch
            ]
            return in_groups(batch, keys, self._say)

    def _say(self, lines: Sequence[Line]) -> list[Speech]:
        voice = self._voices[lines[0].voice]
        speeds = [float(np.clip(line.speed, _MIN_SPEED, _MAX_SPEED)) for line in lines]
        said = voice.model.say([line.text for line in lines], voice.speaker, speeds, lines[0].seed)
        rate_hz = voice.model.sample_rate_hz
        for line, samples, speed in zip(lines, said, speeds, strict=True):
            self._pace.observe(line.voice, len(line.text), samples, rate_hz, speed)
        return [Speech(samples, rate_hz, speed) for samples, speed in zip(said, speeds, strict=True)]

    def _registered(self, by_model: dict[str, _Voice]) -> dict[str, _Voice]:
        """The registry's other names for these voices."""
        found: dict[str, _Voice] = {}
        for voice in VoiceRegistry.load(self._settings.voice_registry).all():
            if voice.engine != ENGINE:
                continue
            if voice.speaker_reference is not None:
                raise ConfigurationError(
                    f"voice {voice.id}: VITS cannot imitate a recording.", remedy="Set its engine to xtts."
                )
            if voice.model not in by_model:
                raise ConfigurationError(
                    f"voice {voice.id}: there is no model {voice.model!r}.",
                    remedy=f"Choose one of: {', '.join(sorted(by_model)[:12])}.",
                )
            found[voice.id] = by_model[voice.model]
        return found


def coqui_home(settings: StsSettings) -> Path:
    """Where Coqui's models lie."""
    return (settings.coqui_model_dir or settings.model_dir).expanduser()


def checked(folder: Path, settings: StsSettings) -> Path:
    """The folder, its files compared with the registry where that knows their sha256.

    Raises:
        MissingPrerequisiteError: a file is missing or damaged.
    """
    known = models.registry().models.get(folder.name)
    if folder.parent == settings.model_dir.expanduser() and known is not None and known.is_pinned:
        return models.verify(folder.name, settings.model_dir)
    return folder


def vits_folders(settings: StsSettings) -> dict[tuple[str, str], Path]:
    """(language, dataset) to the folder of each VITS model, by name.

    Raises:
        MissingPrerequisiteError: there is none.
    """
    home = coqui_home(settings)
    matches = [(path, _FOLDER.fullmatch(path.name)) for path in sorted(home.glob("coqui-vits-*"))]
    found = {(match[1], match[2]): path for path, match in matches if match is not None and path.is_dir()}
    if not found:
        raise MissingPrerequisiteError(
            f"{home} has no voice coqui-vits-<language>-<dataset>.",
            remedy="Run `livedub models fetch coqui-vits-es-css10`, or point STS_COQUI_MODEL_DIR at a folder of voices.",
        )
    return found


def load_vits(folder: Path, settings: StsSettings) -> VitsModel:
    """The VITS in `folder`, which holds `config.json` and one checkpoint.

    Raises:
        MissingPrerequisiteError: a library or a file is missing, or coqui-tts cannot load it.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports] - heavy
        from TTS.config import load_config  # pyright: ignore[reportMissingImports]
        from TTS.tts.models.vits import Vits  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise coqui_missing(error) from error
    config_path = checked(folder, settings) / "config.json"
    checkpoints = sorted(path for path in folder.glob("*.pth") if "speaker" not in path.name)
    if not config_path.is_file() or not checkpoints:
        raise MissingPrerequisiteError(
            f"{folder} lacks its config.json or its checkpoint (*.pth).", remedy="Fetch the model again."
        )
    torch.set_num_threads(settings.threads)
    try:
        config = load_config(str(config_path))
        # a config names its files where they lay when the model was trained
        speakers = next((path for path in folder.glob("speaker*") if path.suffix in (".json", ".pth")), None)
        if speakers is not None:
            config.model_args.speakers_file = str(speakers)
            config.speakers_file = str(speakers)
        network = Vits.init_from_config(config)
        network.load_checkpoint(config, str(checkpoints[0]), eval=True)
        network.to(settings.tts_device)
    except (
        OSError,
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise MissingPrerequisiteError(
            f"{folder} holds no VITS that coqui-tts loads on {settings.tts_device}: {error}.",
            remedy="Fetch the model again, or check STS_TTS_DEVICE.",
        ) from error
    frame = int(np.prod(network.args.upsample_rates_decoder))
    return VitsModel(folder.name, network, torch, int(config.audio.sample_rate), frame)


def coqui_missing(error: ImportError) -> MissingPrerequisiteError:
    """What to do where coqui-tts or what it needs cannot be imported."""
    return MissingPrerequisiteError(
        f"the voice needs a library that is not installed: {error}.",
        remedy="Run setup/torch_environment.sh and start with .venv-torch/bin/python.",
    )


def _by_model(model: VitsModel) -> dict[str, _Voice]:
    speakers = model.speakers()
    first = {model.name: _Voice(model, next(iter(speakers.values()), None))}
    return first | {f"{model.name}/{name}": _Voice(model, number) for name, number in speakers.items()}


def _by_id(model: VitsModel, language: str, dataset: str) -> dict[str, _Voice]:
    speakers = model.speakers()
    if not speakers:
        return {f"{language}/vits-{dataset}": _Voice(model, None)}
    return {
        f"{language}/vits-{dataset}-{_NOT_IN_AN_ID.sub('-', name).strip('-')}": _Voice(model, number)
        for name, number in speakers.items()
    }
