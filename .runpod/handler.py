"""What RunPod's hub looks for in a repository; the image itself starts `python -m gpu_handler runpod`, the same worker."""
# ruff: noqa: INP001 - a script, in no package

import sys

from gpu_handler.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["runpod"]))
