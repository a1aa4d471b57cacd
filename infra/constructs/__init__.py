"""Constructs: one capability each; they know nothing of one another."""
