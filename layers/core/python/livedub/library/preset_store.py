"""Presets: those that come with livedub, and rows of table `media_presets`."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from livedub.library.library_database_store import LibraryDatabase
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.presets import BUILT_IN, UnknownPresetError
from livedub.library.types import Preset

_PUT = """
INSERT INTO media_presets AS known (name, definition) VALUES (%(name)s, %(definition)s)
ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, updated_at = now()
RETURNING xmax = 0
"""


class PostgresPresets:
    """Implements `PresetStore`. The names of those that come with livedub are theirs."""

    def __init__(self, database: LibraryDatabase) -> None:
        self._database = database

    def list(self) -> tuple[Preset, ...]:
        """All of them, by name.

        Raises:
            LibraryError: CATALOGUE_DOWN.
        """
        rows = self._database.rows("SELECT name, definition FROM media_presets", {})
        own = {name: Preset.model_validate(definition) for name, definition in rows}
        return tuple(preset for _name, preset in sorted((own | dict(BUILT_IN)).items()))

    def get(self, name: str) -> Preset:
        """One of them.

        Raises:
            LibraryError: UNKNOWN_PRESET; CATALOGUE_DOWN.
        """
        if name in BUILT_IN:
            return BUILT_IN[name]
        row = self._database.row("SELECT definition FROM media_presets WHERE name = %(name)s", {"name": name})
        if row is None:
            raise UnknownPresetError(name)
        return Preset.model_validate(row[0])

    def put(self, preset: Preset) -> bool:
        """Enter or replace one of one's own; True where it is new.

        Raises:
            LibraryError: PRESET_BUILTIN; CATALOGUE_DOWN.
        """
        _refuse_built_in(preset.name)
        row = self._database.row(
            _PUT, {"name": preset.name, "definition": Jsonb(preset.model_dump(mode="json"))}
        )
        return row is not None and bool(row[0])

    def delete(self, name: str) -> None:
        """Take one of one's own out; jobs keep the preset that they were made with.

        Raises:
            LibraryError: PRESET_BUILTIN; UNKNOWN_PRESET; CATALOGUE_DOWN.
        """
        _refuse_built_in(name)
        if (
            self._database.row(
                "DELETE FROM media_presets WHERE name = %(name)s RETURNING true", {"name": name}
            )
            is None
        ):
            raise UnknownPresetError(name)


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN:
        raise LibraryError(
            LibraryErrorCode.PRESET_BUILTIN,
            f"The preset {name!r} comes with livedub and stays as it is.",
            "Make one of your own under another name.",
        )
