"""What the state machine `rotate_tls` does step by step: docs/flows/rotate-tls.md has the whole."""
