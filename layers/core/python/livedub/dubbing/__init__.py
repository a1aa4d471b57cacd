"""The dubbing session: PCM in, PCM out through STS, on an injected clock. No network, no AWS, no GStreamer."""
