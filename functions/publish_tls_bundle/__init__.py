"""The function publish_tls_bundle; see handler."""
