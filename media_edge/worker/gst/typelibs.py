"""GStreamer's Python bindings, with their versions chosen before anything is loaded.

The bindings are made at run time from typelibs; the stub beside this file tells a type checker which of them are used.
"""

from __future__ import annotations

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstAudio", "1.0")
from gi.repository import (  # noqa: E402 - versions come first
    Gst,  # pyright: ignore[reportAttributeAccessIssue]
    GstApp,  # pyright: ignore[reportAttributeAccessIssue]
    GstAudio,  # pyright: ignore[reportAttributeAccessIssue]
)

Gst.init(None)

__all__ = ["Gst", "GstApp", "GstAudio"]
