"""Coqui's voices with random weights: a VITS of half a megabyte and an XTTS whose own parts are as small as it lets them be.

They speak noise of some length; they drive coqui-tts' real loading, tokenizing, batching and vocoding code.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, trainers
from TTS.tts.configs.shared_configs import CharactersConfig
from TTS.tts.configs.vits_config import VitsConfig
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.models.vits import Vits, VitsArgs
from TTS.tts.models.xtts import Xtts, XttsArgs, XttsAudioConfig

try:
    from TTS.tts.models.vits import VitsAudioConfig  # coqui-tts up to 0.27
except ImportError:
    from TTS.tts.configs.shared_configs import BaseAudioConfig as VitsAudioConfig

VITS_RATE_HZ = 16_000
XTTS_LANGUAGES = ["en", "es"]
XTTS_CHANNELS = 64

_LETTERS = "abcdefghijklmnopqrstuvwxyzáéíóúüñABCDEFGHIJKLMNOPQRSTUVWXYZÁÉÍÓÚÑ0123456789"


def vits_config(speakers: int = 0) -> VitsConfig:
    """A VITS of 0.6 million parameters for Spanish letters."""
    arguments = VitsArgs(
        hidden_channels=48,
        hidden_channels_ffn_text_encoder=96,
        num_heads_text_encoder=2,
        num_layers_text_encoder=2,
        num_layers_posterior_encoder=2,
        num_layers_flow=1,
        resblock_type_decoder="2",
        resblock_kernel_sizes_decoder=[3, 5],
        resblock_dilation_sizes_decoder=[[1, 2], [2, 6]],
        upsample_rates_decoder=[8, 8, 4],
        upsample_initial_channel_decoder=64,
        upsample_kernel_sizes_decoder=[16, 16, 8],
        use_sdp=False,
        # the discriminator serves training alone, and is 47 million parameters whatever the rest is
        init_discriminator=False,
        use_speaker_embedding=speakers > 0,
        speaker_embedding_channels=32,
    )
    return VitsConfig(
        model_args=arguments,
        audio=VitsAudioConfig(sample_rate=VITS_RATE_HZ),
        text_cleaner="multilingual_cleaners",
        use_phonemes=False,
        characters=CharactersConfig(
            characters_class="TTS.tts.models.vits.VitsCharacters",
            pad="_",
            eos="",
            bos="",
            blank=None,
            characters=_LETTERS,
            punctuations="!'(),-.:;?¿¡ ",
            phonemes=None,
        ),
        add_blank=True,
        test_sentences=[],
    )


def build_vits(folder: Path, *, speakers: tuple[str, ...] = (), seed: int = 0) -> Path:
    """A VITS as Coqui's zip files hold them: config.json, model_file.pth, speaker_ids.json where it has several."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    config = vits_config(len(speakers))
    if speakers:
        listed = folder / "speaker_ids.json"
        listed.write_text(
            "{" + ", ".join(f'"{name}": {number}' for number, name in enumerate(speakers)) + "}"
        )
        config.model_args.speakers_file = str(listed)
    network = Vits.init_from_config(config)
    torch.save({"model": network.state_dict()}, folder / "model_file.pth")
    if speakers:  # where the model was trained, not where it lies now
        config.model_args.speakers_file = "/trained/elsewhere/speaker_ids.json"
    config.save_json(str(folder / "config.json"))
    return folder


def build_xtts(folder: Path, sentences: list[str], *, speakers: tuple[str, ...] = (), seed: int = 0) -> Path:
    """An XTTS with a language model of two layers; vocoder and speaker encoder have the size that coqui-tts gives them."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))  # noqa: S106 - no password
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{language}]" for language in XTTS_LANGUAGES)]
    tokenizer.train_from_iterator(
        [sentence.lower() for sentence in sentences],
        trainers.BpeTrainer(vocab_size=120, special_tokens=special),
    )
    tokenizer.save(str(folder / "vocab.json"))
    torch.manual_seed(seed)
    arguments = XttsArgs(
        gpt_layers=2,
        gpt_n_model_channels=XTTS_CHANNELS,
        gpt_n_heads=2,
        gpt_max_audio_tokens=24,
        gpt_max_text_tokens=402,
        gpt_num_audio_tokens=66,
        gpt_start_audio_token=64,
        gpt_stop_audio_token=65,
        gpt_use_perceiver_resampler=True,
        decoder_input_dim=XTTS_CHANNELS,
    )
    config = XttsConfig(model_args=arguments, audio=XttsAudioConfig(), languages=XTTS_LANGUAGES)
    network: Any = Xtts.init_from_config(config)
    network.tokenizer.tokenizer = tokenizer
    network.init_models()
    torch.save({"model": network.state_dict()}, folder / "model.pth")
    config.save_json(str(folder / "config.json"))
    if speakers:
        torch.save(
            {
                name: {
                    "gpt_cond_latent": torch.randn(1, 32, XTTS_CHANNELS),
                    "speaker_embedding": torch.randn(1, 512, 1),
                }
                for name in speakers
            },
            folder / "speakers_xtts.pth",
        )
    return folder
