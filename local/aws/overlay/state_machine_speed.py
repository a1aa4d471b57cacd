"""Step Functions, cost of a step: what depends on a definition alone is worked out once.

moto parses the whole definition per execution (30 ms) and builds a JSONPath parser per path (5 ms), all under the
interpreter's lock: one execution would hold up every hook that arrives beside it.
"""

from __future__ import annotations

import copy
import functools
import threading
from typing import Any

from local.aws.overlay.patching import Patch

_DEFINITIONS = 64
_PATHS = 4096


def patches() -> list[Patch]:
    """The patches that spare work."""
    return [
        Patch(
            "moto.stepfunctions.parser.backend.execution_worker:ExecutionWorker._get_evaluation_entrypoint",
            "2b25949ae855",
            "moto parses the definition anew for every execution",
            _parse_once,
        ),
        Patch(
            "moto.stepfunctions.parser.asl.utils.json_path:parse",
            "8e8fc5e91980",
            "jsonpath_ng builds its parser anew for every path",
            functools.lru_cache(maxsize=_PATHS),
        ),
    ]


def _parse_once(original: Any) -> Any:
    lock = threading.Lock()
    programs: dict[str, Any] = {}

    def get_evaluation_entrypoint(self: Any) -> Any:
        definition = self._evaluation_details.state_machine_details.definition
        with lock:
            program = programs.get(definition)
            if program is None:
                if len(programs) >= _DEFINITIONS:
                    programs.clear()
                program = programs[definition] = original(self)
        # States keep what belongs to one execution, so each gets its own copy (2 ms).
        return copy.deepcopy(program)

    return get_evaluation_entrypoint
