"""The function reconcile_streams; see handler."""
