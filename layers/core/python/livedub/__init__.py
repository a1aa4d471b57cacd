"""livedub: live dubbing of RTMP streams. The package every runtime shares; see CONTRIBUTING.md for its layers."""

__version__ = "0.1.0"
