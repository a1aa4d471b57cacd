"""The media-cache host: Caddy for reads and TLS, the upload service for writes."""
