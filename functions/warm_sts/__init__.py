"""The function warm_sts; see handler."""
