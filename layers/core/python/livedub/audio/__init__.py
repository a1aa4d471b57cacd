"""PCM: types, codecs, resampling, separation, levels and mixing. numpy and PyAV; no network."""
