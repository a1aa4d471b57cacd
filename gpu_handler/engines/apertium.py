"""Apertium as one long-lived process pipeline per language pair.

Apertium's own `apertium` command starts a dozen programs per call (about 130 ms) and hangs when fed NUL-separated
text with `-z`. Its documented null-flush mode works on the programs behind it: each is started once with `-z`, a
request ends in NUL, and the answer comes back up to a NUL within milliseconds. Apertium is GPL-2: separate
processes, no linking. https://wiki.apertium.org/wiki/NUL_flush
"""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gpu_handler.engines.base import EngineInfo, Sentence, Translation
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

MODES_PATH = Path("/usr/share/apertium/modes")

_MODES = {("en", "es"): "eng-spa", ("es", "en"): "spa-eng"}
_TIMEOUT_S = 5.0
_READ_BYTES = 65_536
_RESERVED = re.compile(r"([\[\]\\^$/<>{}@*~])")
"""Characters with a meaning in Apertium's stream format."""

_UNSPOKEN = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "\0": " ", "^": " "})

_FLUSH_MARK = "[][\n]"
"""An empty superblank and a line end: makes every stage let go of its last word before the NUL."""

_CONTRACTIONS = (
    (re.compile(r"\b(I)'m\b", re.IGNORECASE), r"\1 am"),
    (re.compile(r"\b(you|we|they|who|there|these|those)'re\b", re.IGNORECASE), r"\1 are"),
    (re.compile(r"\b(he|she|it|that|there|what|who|where|here|how)'s\b", re.IGNORECASE), r"\1 is"),
    (re.compile(r"\b(I|you|he|she|it|we|they|there|that)'ll\b", re.IGNORECASE), r"\1 will"),
    (re.compile(r"\b(I|you|we|they|could|should|would|might)'ve\b", re.IGNORECASE), r"\1 have"),
    (re.compile(r"\bcan't\b", re.IGNORECASE), "cannot"),
    (re.compile(r"\bwon't\b", re.IGNORECASE), "will not"),
    (re.compile(r"\b(\w+)n't\b", re.IGNORECASE), r"\1 not"),
    (re.compile(r"\blet's\b", re.IGNORECASE), "let us"),
)
"""What Apertium's English analyser takes for possessives; spoken English is full of it."""


class ApertiumPipeline:
    """The programs of one `.mode` file, connected by pipes; answers one text at a time.

    Not thread-safe: the translator serialises calls.
    """

    def __init__(self, mode: str, *, modes_path: Path = MODES_PATH, timeout_s: float = _TIMEOUT_S) -> None:
        path = modes_path / f"{mode}.mode"
        try:
            self._commands = parse_mode(path.read_text())
        except OSError as error:
            raise MissingPrerequisiteError(
                f"Apertium has no {mode} data ({path}).",
                remedy="Run `make setup`, or install apertium-eng-spa.",
            ) from error
        self._timeout_s = timeout_s
        self._processes: list[subprocess.Popen[bytes]] = []

    def translate(self, text: str) -> str:
        """Translate one text.

        Raises:
            TimeoutError: no answer in time; the programs are ended, the next call starts fresh ones.
            RuntimeError: a program ended by itself; same consequence.
        """
        try:
            self._start()
            return unescape(self._exchange(escape(text)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the programs and reap them."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.kill()
        for process in processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait(timeout=self._timeout_s)

    def _start(self) -> None:
        if self._processes and all(process.poll() is None for process in self._processes):
            return
        self.close()
        for command in self._commands:
            self._processes.append(self._spawn(command))

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start the next program, fed by the one before."""
        upstream = self._processes[-1].stdout if self._processes else None
        try:
            return subprocess.Popen(
                command,
                stdin=upstream or subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise MissingPrerequisiteError(
                f"{command[0]} cannot be started: {error}.", remedy="Run `make setup`, or install apertium."
            ) from error
        finally:
            if upstream is not None:
                # the child owns the pipe now; our copy would keep it open after the writer is gone
                upstream.close()

    def _exchange(self, request: str) -> str:
        first, last = self._processes[0].stdin, self._processes[-1].stdout
        if first is None or last is None:
            raise RuntimeError("Apertium's pipes are closed")
        deadline = time.monotonic() + self._timeout_s
        first.write(request.encode() + b"\0")
        answer = b""
        while not answer.endswith(b"\0"):
            ready, _, _ = select.select([last], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Apertium gave no answer within {self._timeout_s} s")
            block = os.read(last.fileno(), _READ_BYTES)
            if not block:
                raise RuntimeError("Apertium ended in the middle of an answer")
            answer += block
        return answer[:-1].decode()


class ApertiumTranslator:
    """Rule-based translation between English and Spanish: instant, always the same, gist quality."""

    def __init__(self, settings: StsSettings, *, modes_path: Path = MODES_PATH) -> None:
        del settings
        self._modes_path = modes_path
        self._lock = threading.Lock()
        self._pipelines: dict[tuple[str, str], ApertiumPipeline] = {}

    @property
    def info(self) -> EngineInfo:
        """Name, model and licence."""
        return EngineInfo("apertium", "apertium-eng-spa", "GPL-2.0-or-later (separate processes)")

    def load(self) -> None:
        """Start the programs of every pair and translate a word with each."""
        for source, target in sorted(_MODES):
            self.translate([Sentence("no", source, target)])

    def close(self) -> None:
        """End every program."""
        with self._lock:
            for pipeline in self._pipelines.values():
                pipeline.close()
            self._pipelines.clear()

    def pairs(self) -> frozenset[tuple[str, str]]:
        """English and Spanish, both ways."""
        return frozenset(_MODES)

    @property
    def shortens(self) -> bool:
        """Rules know one wording."""
        return False

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        """Translate one sentence after the other; KeyError for a pair not in `pairs()`."""
        return [Translation(self._translate(sentence)) for sentence in batch]

    def _translate(self, sentence: Sentence) -> str:
        pair = (sentence.source, sentence.target)
        mode = _MODES[pair]
        prepared = expand_contractions(sentence.text) if sentence.source == "en" else sentence.text
        with self._lock:
            pipeline = self._pipelines.get(pair)
            if pipeline is None:
                pipeline = self._pipelines[pair] = ApertiumPipeline(mode, modes_path=self._modes_path)
            return pipeline.translate(prepared)


def parse_mode(text: str) -> list[list[str]]:
    """The argument vectors of a `.mode` file, in null-flush mode.

    A mode file is one shell pipeline with `$1` (generator option) and `$2` (tagger option); `-n` as `$1` leaves
    out the marks on unknown words.
    """
    commands = []
    for command in text.strip().split("|"):
        program, *arguments = shlex.split(command)
        options = ["-n" if argument == "$1" else argument for argument in arguments if argument != "$2"]
        commands.append([program, "-z", *options])
    return commands


def escape(text: str) -> str:
    """Plain text as Apertium's stream format, ready to be flushed.

    A circumflex is dropped: at the end of a text even an escaped one makes the tagger wait for more.
    """
    plain = " ".join(text.translate(_UNSPOKEN).split())
    return _RESERVED.sub(r"\\\1", plain) + _FLUSH_MARK


def unescape(answer: str) -> str:
    """Stream format back to plain text."""
    return " ".join(re.sub(r"\\(.)", r"\1", answer.replace(_FLUSH_MARK, "")).split())


def expand_contractions(text: str) -> str:
    """Spoken English contractions written out ("we're" to "we are")."""
    plain = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for pattern, full in _CONTRACTIONS:
        plain = pattern.sub(full, plain)
    return plain
