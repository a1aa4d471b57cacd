"""The function on_unpublish; see handler."""
