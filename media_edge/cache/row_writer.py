"""Rows of uploads that come at the same time, entered with one statement.

A statement costs more than the file it tells of, whether it holds one row or fifty. Of the threads that want a row
entered, the first ones lead: each enters its own row at once, with those of all who came while the leaders before it
were busy, and whoever is left over when it is done leads next. So nobody waits for company, and company forms when
the database is the bottleneck.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum, auto

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import CacheEntry, Catalogue

_LEADERS = 2
"""So that one whose rows are locked by a clean-up does not hold up everybody."""
_MOST_ROWS = 64


class _Word(Enum):
    """What a waiting thread is told."""

    LEAD = auto()
    ENTERED = auto()
    ALONE = auto()
    """The statement failed, perhaps because of somebody else's row: try your own."""


class _Row:
    def __init__(self, entry: CacheEntry) -> None:
        self.entry = entry
        self.word = _Word.LEAD
        self._told = threading.Lock()
        self._told.acquire()

    def tell(self, word: _Word) -> None:
        self.word = word
        self._told.release()

    def listen(self) -> _Word:
        # Bounded by the database's own bounds: a leader always tells, whatever happens to it.
        self._told.acquire()
        return self.word


class RowWriter:
    """Enters rows into a catalogue. Methods block and may be called from any thread."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._waiting: deque[_Row] = deque()
        self._leaders = 0

    def record(self, entry: CacheEntry) -> None:
        """Enter one row.

        Raises:
            LivedubError: the catalogue did not take it.
        """
        row = _Row(entry)
        with self._lock:
            led = self._leaders >= _LEADERS
            if led:
                self._waiting.append(row)
            else:
                self._leaders += 1
        word = row.listen() if led else _Word.LEAD
        if word is _Word.LEAD:
            self._lead(row)
        elif word is _Word.ALONE:
            self._catalogue.record([entry])

    def _lead(self, own: _Row) -> None:
        followers = self._company(own)
        word = _Word.ALONE
        try:
            self._catalogue.record([own.entry, *(row.entry for row in followers)])
            word = _Word.ENTERED
        except LivedubError:
            if not followers:
                raise
        finally:
            self._hand_over()
            for row in followers:
                row.tell(word)
        if word is _Word.ALONE:
            self._catalogue.record([own.entry])

    def _company(self, own: _Row) -> list[_Row]:
        """Who waits, but for those with the key of another: a statement cannot touch a row twice."""
        keys, company, others = {own.entry.hash}, list[_Row](), list[_Row]()
        with self._lock:
            while self._waiting and len(company) + 1 < _MOST_ROWS:
                row = self._waiting.popleft()
                (others if row.entry.hash in keys else company).append(row)
                keys.add(row.entry.hash)
            self._waiting.extendleft(reversed(others))
        return company

    def _hand_over(self) -> None:
        with self._lock:
            successor = self._waiting.popleft() if self._waiting else None
            if successor is None:
                self._leaders -= 1
        if successor is not None:
            successor.tell(_Word.LEAD)
