"""Stacks: they wire constructs together and define no resource themselves."""
