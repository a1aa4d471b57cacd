"""The function classify_outcome; see handler."""
