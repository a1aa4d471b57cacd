import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from livedub.errors import MissingPrerequisiteError
from local.ports import free_port
from local.processes import ProcessError, ProcessSpec, Supervisor, http_ready, line_ready, tcp_ready

ROOT = Path(__file__).parents[3]
BOUND_S = 30.0
"""Of what takes no time on a machine that has nothing else to do."""

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess,time; p=subprocess.Popen(['sleep','60']); print(p.pid, flush=True); {then}"


def python(name: str, code: str, *, stop_timeout_s: float = 5.0) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), stop_timeout_s=stop_timeout_s)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def gone(pid: int, *, timeout_s: float = BOUND_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_running(pid) and time.monotonic() < deadline:  # noqa: ASYNC110 - the kernel tells nobody
        await asyncio.sleep(0.02)
    return not is_running(pid)


async def test_a_child_is_ready_heard_logged_and_stopped(tmp_path: Path):
    heard: list[str] = []
    code = "import sys,time; print('ready now', flush=True); print('careful', file=sys.stderr, flush=True); time.sleep(60)"
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(python("it", code), ready=line_ready("^ready"), on_stdout=heard.append)
        assert await asyncio.wait_for(child.line("careful"), BOUND_S) == "careful"
        assert supervisor.children == (child,)
        assert await supervisor.stop(child) == -signal.SIGTERM
        assert supervisor.children == ()
    assert heard == ["ready now"]
    assert sorted((tmp_path / "it.log").read_text().split("\n")) == ["", "careful", "ready now"]
    assert not is_running(child.pid)


async def test_a_secret_is_heard_and_kept_nowhere(tmp_path: Path):
    heard: list[str] = []
    code = "import sys; print('hush', flush=True); print('failed', file=sys.stderr, flush=True)"
    spec = ProcessSpec("it", (sys.executable, "-c", code), secret_stdout=True)
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(spec, on_stdout=heard.append)
        await asyncio.wait_for(child.wait(), 30)
        assert heard == ["hush"]
        assert "hush" not in child.describe_end()
        assert "failed" in child.describe_end()
    assert (tmp_path / "it.log").read_text() == "failed\n"


async def test_children_stop_in_reverse_order(tmp_path: Path):
    ended: list[str] = []
    code = (
        "import signal,sys,time\n"
        "def end(*_): print('end', flush=True); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )

    def heard(name: str):
        return lambda line: ended.append(name) if line == "end" else None

    async with Supervisor(tmp_path) as supervisor:
        for name in ("first", "second", "third"):
            await supervisor.start(python(name, code), ready=line_ready("up"), on_stdout=heard(name))
    assert ended == ["third", "second", "first"]


async def test_an_early_end_names_process_code_and_last_lines(tmp_path: Path):
    async with Supervisor(tmp_path) as supervisor:
        with pytest.raises(ProcessError) as caught:
            await supervisor.start(
                python("broken", "print('no such device'); raise SystemExit(3)"), ready=line_ready("never")
            )
        assert supervisor.children == ()
    assert "broken exited with code 3" in str(caught.value)
    assert "no such device" in str(caught.value)


async def test_a_child_that_is_not_ready_in_time_is_stopped(tmp_path: Path):
    pids: list[str] = []
    # A shell has said its number long before the second is over, whatever else the machine does.
    slow = ProcessSpec("slow", ("sh", "-c", "echo $$; exec sleep 60"))
    async with Supervisor(tmp_path) as supervisor:
        with pytest.raises(ProcessError, match="slow was not ready within 1 s"):
            await supervisor.start(
                slow, ready=line_ready("never"), ready_timeout_s=1.0, on_stdout=pids.append
            )
        assert not is_running(int(pids[0]))


async def test_one_that_ignores_sigterm_is_killed_after_its_bound(tmp_path: Path):
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(
            python("stubborn", STUBBORN, stop_timeout_s=0.3), ready=line_ready("up")
        )
        began = time.monotonic()
        assert await supervisor.stop(child) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - began < BOUND_S


@pytest.mark.parametrize("then", ["time.sleep(60)", "pass"])
async def test_what_a_child_started_ends_with_it(tmp_path: Path, then: str):
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(python("parent", PARENT.format(then=then)))
        grandchild = int(await asyncio.wait_for(child.line(r"^\d+$"), BOUND_S))
        await supervisor.stop(child)
    assert await gone(grandchild)


async def test_a_cancelled_stop_leaves_nothing_behind(tmp_path: Path):
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(
            python("stubborn", STUBBORN, stop_timeout_s=60), ready=line_ready("up")
        )
        stopping = asyncio.create_task(supervisor.stop(child))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert await gone(child.pid)


async def test_an_error_in_the_block_stops_every_child(tmp_path: Path):
    pids: list[int] = []

    async def fail() -> None:
        async with Supervisor(tmp_path) as supervisor:
            for name in ("a", "b"):
                child = await supervisor.start(python(name, "import time; time.sleep(60)"))
                pids.append(child.pid)
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        await fail()
    assert not any(is_running(pid) for pid in pids)


async def test_children_die_with_us_even_by_sigkill(tmp_path: Path):
    code = (
        "import asyncio\n"
        "from pathlib import Path\n"
        "from local.processes import ProcessSpec, Supervisor\n"
        "async def main():\n"
        f"    async with Supervisor(Path({str(tmp_path)!r})) as supervisor:\n"
        "        child = await supervisor.start(ProcessSpec('sleeper', ('sleep', '60')))\n"
        "        print(child.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    sleeper = int(await asyncio.wait_for(process.stdout.readline(), BOUND_S))
    assert is_running(sleeper)
    process.kill()
    await asyncio.wait_for(process.communicate(), BOUND_S)
    assert await gone(sleeper)


async def test_a_program_that_is_not_installed_is_named(tmp_path: Path):
    async with Supervisor(tmp_path) as supervisor:
        with pytest.raises(MissingPrerequisiteError, match=r"thing needs no-such-program.*make setup"):
            await supervisor.start(ProcessSpec("thing", ("no-such-program",)))


async def test_readiness_by_port_and_by_http(tmp_path: Path):
    port = free_port()
    spec = ProcessSpec(
        "server", (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"), cwd=tmp_path
    )
    async with Supervisor(tmp_path / "logs") as supervisor:
        child = await supervisor.start(spec, ready=tcp_ready("127.0.0.1", port), ready_timeout_s=20)
        await asyncio.wait_for(http_ready(f"http://127.0.0.1:{port}/")(child), BOUND_S)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(http_ready(f"http://127.0.0.1:{port}/absent")(child), 0.3)


async def test_output_that_is_no_text_or_has_no_end_does_no_harm(tmp_path: Path):
    code = (
        "import sys\n"
        "sys.stdout.buffer.write(b'x' * 3_000_000 + b'\\n\\xff\\xfe\\nlast without a newline')\n"
        "sys.stdout.buffer.flush()"
    )
    heard: list[str] = []
    async with Supervisor(tmp_path) as supervisor:
        child = await supervisor.start(python("noisy", code), on_stdout=heard.append)
        assert await asyncio.wait_for(child.wait(), 10) == 0
    assert heard[-2:] == ["\ufffd\ufffd", "last without a newline"]
    assert (tmp_path / "noisy.log").stat().st_size == 3_000_000 + 4 + len("last without a newline")
