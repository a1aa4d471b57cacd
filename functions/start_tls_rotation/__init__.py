"""The function start_tls_rotation; see handler."""
