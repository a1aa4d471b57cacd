"""Hosts that work on the media library's jobs: Celery's workers, and takers of the state machine's work."""
