"""What a library job does: transcode, trim and dub, from a key in one bucket to a key in the other."""
