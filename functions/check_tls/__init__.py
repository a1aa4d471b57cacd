"""The function check_tls; see handler."""
