"""GStreamer pipelines: the only place that imports gi."""
