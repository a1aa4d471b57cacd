"""AWS on one machine: pinned moto in one process, made real where livedub uses it (docs/local-aws.md)."""
