"""moto in a test's own process, without those of its races that the local AWS mends.

On a loaded machine moto loses a write to an item between another one's condition and its write, and an answer to a task
token that arrives before the task waits for it: the stream's worker then never learns its token, or is given up.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.aws.overlay import dynamodb, state_machine_tokens
from local.aws.overlay.patching import resolve


@contextmanager
def steady_moto() -> Iterator[None]:
    """As long as the context lasts, items change one at a time and task tokens are answered once, whenever that is."""
    with pytest.MonkeyPatch.context() as patched:
        for patch in (*dynamodb.patches(), *state_machine_tokens.patches()):
            owner, name, original = resolve(patch.symbol)
            patched.setattr(owner, name, patch.wrap(original))
        yield
