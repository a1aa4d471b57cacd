"""The `livedub` command: one file per command, heavy imports inside the command."""
