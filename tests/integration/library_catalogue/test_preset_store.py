"""Presets: ours and one's own."""

import pytest

from livedub.library.catalogue import Catalogue
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.presets import BUILT_IN
from livedub.library.types import AudioEncoding, Container, Preset

OWN = Preset(name="podcast", container=Container.M4A, audio=AudioEncoding(bitrate_kbps=96, channels=1))


def test_what_comes_with_livedub_is_there(catalogue: Catalogue):
    assert {preset.name for preset in catalogue.presets.list()} == set(BUILT_IN)
    assert catalogue.presets.get("hls").container is Container.HLS


def test_one_of_our_own_is_kept_replaced_and_deleted(catalogue: Catalogue):
    presets = catalogue.presets
    assert presets.put(OWN)
    assert presets.get("podcast") == OWN
    quieter = OWN.model_copy(update={"audio": AudioEncoding(bitrate_kbps=64)})
    assert not presets.put(quieter)
    assert presets.get("podcast") == quieter
    names = [preset.name for preset in presets.list()]
    assert names == sorted([*BUILT_IN, "podcast"])
    presets.delete("podcast")
    with pytest.raises(LibraryError) as refused:
        presets.get("podcast")
    assert refused.value.code is LibraryErrorCode.UNKNOWN_PRESET


def test_what_is_not_there_cannot_be_deleted(catalogue: Catalogue):
    with pytest.raises(LibraryError) as refused:
        catalogue.presets.delete("podcast")
    assert refused.value.code is LibraryErrorCode.UNKNOWN_PRESET


def test_ours_stay_as_they_are(catalogue: Catalogue):
    impostor = OWN.model_copy(update={"name": "hls"})
    for change in (lambda: catalogue.presets.put(impostor), lambda: catalogue.presets.delete("hls")):
        with pytest.raises(LibraryError) as refused:
            change()
        assert refused.value.code is LibraryErrorCode.PRESET_BUILTIN
    assert catalogue.presets.get("hls") == BUILT_IN["hls"]
