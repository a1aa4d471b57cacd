"""The function settle_tls_stores; see handler."""
