"""Which translation models lie in a folder, of which family, for which languages. No model library is needed here.

OPUS-MT has one model per language pair, in folders called `opus-mt-<source>-<target>`; M2M100 and NLLB translate
between all their languages with one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gpu_handler import models
from gpu_handler.engines import licences
from gpu_handler.engines.licences import Licence
from gpu_handler.settings import StsSettings
from livedub.errors import ConfigurationError, MissingPrerequisiteError

Pair = tuple[str, str]

M2M100_DEFAULT = "m2m100-418m"
NLLB_DEFAULT = "nllb-200-distilled-600m"

MARIAN_FILES = ("source.spm", "target.spm")
MULTILINGUAL_FILES = ("sentencepiece.bpe.model",)

_PAIR_FOLDER = re.compile(r"opus-mt-(?:tc-big-)?([a-z]{2,3})-([a-z]{2,3})")
_PAIR = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")
_M2M100_TOKEN = re.compile(r"__([a-z]{2,3})__")
_MADE_UP = re.compile(r"madeupword\d+")
_MARKS = frozenset({"<s>", "</s>", "<pad>", "<unk>", "<mask>"})
_NLLB_TOKEN = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")


class Family(Enum):
    """How a model is told the languages."""

    MARIAN = "opus-mt"
    M2M100 = "m2m100"
    NLLB = "nllb"


FAMILY_LICENCES = {
    Family.MARIAN: licences.OPUS_MT,
    Family.M2M100: licences.M2M100,
    Family.NLLB: licences.NLLB,
}


@dataclass(frozen=True, slots=True)
class TranslationModel:
    """A model's folder. `pair` is None for a model of many languages."""

    name: str
    folder: Path
    family: Family
    pair: Pair | None = None

    @property
    def licence(self) -> Licence:
        """The registry's word, else the family's."""
        return licences.licence_of(self.name, FAMILY_LICENCES[self.family])


def home(settings: StsSettings) -> Path:
    """Where translation models lie."""
    return (settings.mt_model_dir or settings.model_dir).expanduser()


def wanted_pairs(settings: StsSettings) -> frozenset[Pair]:
    """The pairs that `STS_MT_PAIRS` names; empty for all.

    Raises:
        ConfigurationError: an entry is not `source-target`.
    """
    pairs: set[Pair] = set()
    for entry in filter(None, (entry.strip() for entry in settings.mt_pairs.split(","))):
        match = _PAIR.fullmatch(entry)
        if match is None:
            raise ConfigurationError(
                f"STS_MT_PAIRS: {entry!r} is not a language pair.", remedy="Write it like es-en."
            )
        pairs.add((match[1], match[2]))
    return frozenset(pairs)


def marian_models(settings: StsSettings) -> dict[Pair, TranslationModel]:
    """The OPUS-MT model of every wanted pair; a plain name wins over its `tc-big` sibling.

    Raises:
        MissingPrerequisiteError: there is none, or a wanted pair has none.
    """
    folder, wanted = home(settings), wanted_pairs(settings)
    found: dict[Pair, TranslationModel] = {}
    for path in sorted(folder.glob("opus-mt-*"), key=lambda path: (len(path.name), path.name)):
        match = _PAIR_FOLDER.fullmatch(path.name)
        if match is None or not path.is_dir():
            continue
        pair = (match[1], match[2])
        if not wanted or pair in wanted:
            found.setdefault(pair, TranslationModel(path.name, path, Family.MARIAN, pair))
    absent = sorted(f"opus-mt-{source}-{target}" for source, target in wanted - found.keys())
    if absent or not found:
        names = ", ".join(absent) or "opus-mt-<source>-<target>"
        raise MissingPrerequisiteError(
            f"{folder} has no translation model {names}.", remedy=_fetch(absent or ["opus-mt-en-es"])
        )
    return found


def multilingual_model(settings: StsSettings, default: str) -> TranslationModel:
    """The model of many languages that `STS_MT_MODEL` names, `default` when it is empty.

    Raises:
        MissingPrerequisiteError: it is not there.
    """
    name = settings.mt_model or default
    folder = home(settings) / name
    if not folder.is_dir():
        raise MissingPrerequisiteError(f"{folder}: there is no such model.", remedy=_fetch([name]))
    return TranslationModel(name, folder, family_of(folder))


def checked(model: TranslationModel, settings: StsSettings) -> Path:
    """The model's folder, its files compared with the registry where that knows their sha256.

    Raises:
        MissingPrerequisiteError: a file is missing or damaged.
    """
    fetched = model.folder.parent == settings.model_dir.expanduser()
    known = models.registry().models.get(model.name)
    if fetched and known is not None and known.is_pinned:
        return models.verify(model.name, settings.model_dir)
    return model.folder


def family_of(folder: Path) -> Family:
    """The family by the files that a model brings: tokenizer class, vocabulary, language tokens.

    Raises:
        ConfigurationError: it is none of those known here.
    """
    if all((folder / name).is_file() for name in MARIAN_FILES):
        return Family.MARIAN
    described = f"{_text(folder / 'tokenizer_config.json')} {_text(folder / 'config.json')}"
    if "NllbTokenizer" in described:
        return Family.NLLB
    if "m2m_100" in described or "M2M100" in described:
        return Family.M2M100
    tokens = vocabulary(folder)
    if any(_M2M100_TOKEN.fullmatch(token) for token in tokens):
        return Family.M2M100
    if any(_NLLB_TOKEN.fullmatch(token) for token in tokens):
        return Family.NLLB
    raise ConfigurationError(
        f"{folder}: neither a Marian, nor an M2M100, nor an NLLB model.",
        remedy="STS_MT_MODEL_DIR must hold models as Hugging Face or CTranslate2 lay them out.",
    )


def vocabulary(folder: Path) -> list[str]:
    """The tokens of a CTranslate2 model, in order; empty for other folders."""
    for name in ("shared_vocabulary", "target_vocabulary"):
        listed = folder / f"{name}.json"
        if listed.is_file():
            return json.loads(listed.read_text())
        lines = folder / f"{name}.txt"
        if lines.is_file():
            return lines.read_text().splitlines()
    return []


def language_tokens(family: Family, tokens: Iterable[str]) -> dict[str, str]:
    """ISO 639-1 code (639-3 where there is none) to the token by which a multilingual model knows the language."""
    if family is Family.M2M100:
        return {match[1]: token for token in tokens if (match := _M2M100_TOKEN.fullmatch(token))}
    known = set(tokens)
    return {code: token for code, token in NLLB_LANGUAGES.items() if token in known}


def special_tokens(tokens: Iterable[str]) -> frozenset[str]:
    """Those of a model's tokens that are no text: sentence marks, language tokens, padding of the vocabulary."""
    return frozenset(
        token
        for token in tokens
        if token in _MARKS
        or any(pattern.fullmatch(token) for pattern in (_M2M100_TOKEN, _NLLB_TOKEN, _MADE_UP))
    )


def _fetch(names: Iterable[str]) -> str:
    return f"Run `livedub models fetch {' '.join(names)}`, or point STS_MT_MODEL_DIR at a folder that has it."


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


NLLB_LANGUAGES = {
    "af": "afr_Latn",
    "am": "amh_Ethi",
    "ar": "arb_Arab",
    "as": "asm_Beng",
    "az": "azj_Latn",
    "ba": "bak_Cyrl",
    "be": "bel_Cyrl",
    "bg": "bul_Cyrl",
    "bn": "ben_Beng",
    "bo": "bod_Tibt",
    "bs": "bos_Latn",
    "ca": "cat_Latn",
    "cs": "ces_Latn",
    "cy": "cym_Latn",
    "da": "dan_Latn",
    "de": "deu_Latn",
    "el": "ell_Grek",
    "en": "eng_Latn",
    "es": "spa_Latn",
    "et": "est_Latn",
    "eu": "eus_Latn",
    "fa": "pes_Arab",
    "fi": "fin_Latn",
    "fo": "fao_Latn",
    "fr": "fra_Latn",
    "gl": "glg_Latn",
    "gu": "guj_Gujr",
    "ha": "hau_Latn",
    "he": "heb_Hebr",
    "hi": "hin_Deva",
    "hr": "hrv_Latn",
    "ht": "hat_Latn",
    "hu": "hun_Latn",
    "hy": "hye_Armn",
    "id": "ind_Latn",
    "is": "isl_Latn",
    "it": "ita_Latn",
    "ja": "jpn_Jpan",
    "jw": "jav_Latn",
    "ka": "kat_Geor",
    "kk": "kaz_Cyrl",
    "km": "khm_Khmr",
    "kn": "kan_Knda",
    "ko": "kor_Hang",
    "lb": "ltz_Latn",
    "ln": "lin_Latn",
    "lo": "lao_Laoo",
    "lt": "lit_Latn",
    "lv": "lvs_Latn",
    "mg": "plt_Latn",
    "mi": "mri_Latn",
    "mk": "mkd_Cyrl",
    "ml": "mal_Mlym",
    "mn": "khk_Cyrl",
    "mr": "mar_Deva",
    "ms": "zsm_Latn",
    "mt": "mlt_Latn",
    "my": "mya_Mymr",
    "ne": "npi_Deva",
    "nl": "nld_Latn",
    "nn": "nno_Latn",
    "no": "nob_Latn",
    "oc": "oci_Latn",
    "pa": "pan_Guru",
    "pl": "pol_Latn",
    "ps": "pbt_Arab",
    "pt": "por_Latn",
    "ro": "ron_Latn",
    "ru": "rus_Cyrl",
    "sa": "san_Deva",
    "sd": "snd_Arab",
    "si": "sin_Sinh",
    "sk": "slk_Latn",
    "sl": "slv_Latn",
    "sn": "sna_Latn",
    "so": "som_Latn",
    "sq": "als_Latn",
    "sr": "srp_Cyrl",
    "su": "sun_Latn",
    "sv": "swe_Latn",
    "sw": "swh_Latn",
    "ta": "tam_Taml",
    "te": "tel_Telu",
    "tg": "tgk_Cyrl",
    "th": "tha_Thai",
    "tk": "tuk_Latn",
    "tl": "tgl_Latn",
    "tr": "tur_Latn",
    "tt": "tat_Cyrl",
    "uk": "ukr_Cyrl",
    "ur": "urd_Arab",
    "uz": "uzn_Latn",
    "vi": "vie_Latn",
    "yi": "ydd_Hebr",
    "yo": "yor_Latn",
    "yue": "yue_Hant",
    "zh": "zho_Hans",
}
"""Whisper's languages (its codes) in NLLB's, which name language and script."""
