"""The media cache for generated speech: keys, TLS, client, catalogue and clean-up."""
