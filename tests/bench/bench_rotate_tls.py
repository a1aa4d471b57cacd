"""rotate_tls under load: `python tests/bench/bench_rotate_tls.py [--rotations N] [--out FILE]` prints JSON.

On the local AWS: functions as they are deployed, a real Caddy with its host agent, and two consumers that store and read
without a pause and look at their bundle every 0.4 s. Certificate and key are written in either order by turns, each time
of another authority, so that consumers must learn what to trust before the host serves with it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import self_signed
from tests.bench.media_bench_rig import printed
from tests.integration.local_aws.rig import Aws, eventually, running_server
from tests.integration.media_cache.rotation_rig import WAITS, rotation_rig, sha, under_load


def measure(rotations: int = 6) -> dict[str, Any]:
    """So many rotations, one after the other."""
    first = PrivateCa.create().issue_leaf(["127.0.0.1"])
    served_s: list[float] = []
    whole_s: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server() as server,
        rotation_rig(Aws(server.endpoint), Path(folder), first) as rig,
        under_load(rig) as load,
    ):
        for number in range(rotations):
            new = self_signed(["127.0.0.1"])
            steps = [lambda new=new: rig.set_key(new.privkey_pem), lambda new=new: rig.set_chain(new)]
            first_step, second_step = steps if number % 2 == 0 else reversed(steps)
            first_step()
            second_step()
            began_s = time.monotonic()
            eventually(lambda new=new: rig.served() == sha(new), "the new certificate", 120)
            served_s.append(time.monotonic() - began_s)
            rig.quiet()
            eventually(lambda new=new: rig.trusted() == {sha(new)}, "what vouched for the old one is out")
            whole_s.append(time.monotonic() - began_s)
        statuses = sorted(rig.executions().values())
    return {
        "what": f"{rotations} rotations to another authority by rotate_tls, the stores written in either order",
        "requests": load.requests,
        "failed": len(load.failures),
        "settle_s": int(WAITS["MEDIA_TLS_ROTATION_SETTLE_S"]),
        "drop_after_s": int(WAITS["MEDIA_TLS_ROTATION_DROP_AFTER_S"]),
        "served_after_s": [round(seconds, 1) for seconds in served_s],
        "old_dropped_after_s": [round(seconds, 1) for seconds in whole_s],
        "executions": len(statuses),
        "executions_succeeded": statuses.count("SUCCEEDED"),
    }


if __name__ == "__main__":
    printed(measure, __doc__, rotations=(int, 6, "rotations"))
