"""Engines: one file each; the only place that imports model runtimes. Heavy imports happen inside `load()`."""
