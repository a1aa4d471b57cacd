"""The function media_cache_cleanup; see handler."""
