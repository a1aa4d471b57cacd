"""MediaMTX: its configuration and the hook it runs."""
