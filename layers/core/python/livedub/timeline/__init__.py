"""Integer time: clocks, fragments, sequencing, isochrony, ladder. Standard library only; no I/O, no clock reads."""
