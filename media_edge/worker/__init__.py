"""The stream worker: one process dubs one stream."""
