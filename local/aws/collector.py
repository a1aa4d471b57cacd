"""Python's garbage collector, kept off what lives for ever.

moto and botocore's service models are hundreds of thousands of objects. Each full collection would walk all of them with
the interpreter's lock held: 0.2 to 0.5 s in which no request is answered, and a start would take a second longer.
"""

from __future__ import annotations

import gc

from local.aws.background_work import BackgroundWork

_SETTLED_AFTER_S = (10.0, 60.0)
"""Services load their models with the first requests and the deployment."""


def pause() -> None:
    """Collect nothing while modules are loaded: they stay."""
    gc.disable()


def settle(background: BackgroundWork) -> None:
    """Leave everything that is alive now out of later collections, and again twice within the first minute."""
    gc.freeze()  # without a collection: what loading leaves behind is not worth the second it takes
    gc.enable()
    for delay_s in _SETTLED_AFTER_S:
        background.later(delay_s, _freeze)


def _freeze() -> None:
    gc.collect()
    gc.freeze()
