from __future__ import annotations

import pytest

from media_edge.worker.units import AudioFormat


@pytest.mark.parametrize(
    ("codec_data", "shown"),
    [
        ("1190", "AAC 48000 Hz, 2 channels"),
        ("1208", "AAC 44100 Hz, 1 channel"),
        ("1388", "AAC 22050 Hz, 1 channel"),
        ("17", "AAC"),
        ("1780", "AAC, 0 channels"),
    ],
)
def test_an_audio_format_says_what_it_is(codec_data: str, shown: str):
    assert str(AudioFormat(bytes.fromhex(codec_data))) == shown
