"""The function on_publish; see handler."""
