"""SentencePiece, the tokenizer of every translation model here, without torch or transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livedub.errors import MissingPrerequisiteError


class SentencePieces:
    """Text to pieces by the source model, pieces to text by the target model (often the same file)."""

    def __init__(self, source: Path, target: Path) -> None:
        """Read both files.

        Raises:
            MissingPrerequisiteError: the library or a file is missing.
        """
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise MissingPrerequisiteError(
                f"the translator needs a library that is not installed: {error}.",
                remedy="Install sentencepiece.",
            ) from error
        for path in (source, target):
            if not path.is_file():
                raise MissingPrerequisiteError(
                    f"{path} is missing: the model's tokenizer.", remedy="Fetch the model again."
                )
        self._source: Any = SentencePieceProcessor(model_file=str(source))
        self._target: Any = (
            self._source if source == target else SentencePieceProcessor(model_file=str(target))
        )

    def split(self, text: str) -> list[str]:
        """The pieces of `text`, line breaks taken as spaces."""
        return self._source.encode(" ".join(text.split()), out_type=str)

    def join(self, pieces: Sequence[str]) -> str:
        """The text of pieces that a model produced."""
        return self._target.decode(list(pieces)).strip()
