"""Apertium's programs as they are installed: null-flush, escaping, threads, death and time-outs."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_handler.engines.apertium import (
    MODES_PATH,
    ApertiumPipeline,
    ApertiumTranslator,
    escape,
    expand_contractions,
    parse_mode,
    unescape,
)
from gpu_handler.engines.base import Sentence
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError


@pytest.fixture(scope="module")
def translator():
    engine = ApertiumTranslator(StsSettings())
    engine.load()
    yield engine
    engine.close()


@pytest.fixture
def pipeline():
    programs = ApertiumPipeline("eng-spa")
    yield programs
    programs.close()


def said(translator: ApertiumTranslator, text: str, source: str, target: str) -> str:
    (translation,) = translator.translate([Sentence(text, source, target)])
    return translation.text


def test_both_directions(translator: ApertiumTranslator):
    assert said(translator, "The house is big.", "en", "es") == "La casa es grande."
    assert said(translator, "La casa es grande.", "es", "en") == "The house is big."


def test_the_programs_are_started_once_for_many_texts(pipeline: ApertiumPipeline):
    pipeline.translate("house")
    started = [process.pid for process in pipeline._processes]
    for _ in range(20):
        pipeline.translate("The players are coming back to the field.")
    assert [process.pid for process in pipeline._processes] == started != []


def test_a_pair_it_lacks_is_a_key_error(translator: ApertiumTranslator):
    with pytest.raises(KeyError):
        said(translator, "hallo", "de", "es")


def test_many_threads_get_their_own_answers(translator: ApertiumTranslator):
    texts = [f"The house number {n} is big." for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: said(translator, text, "en", "es"), texts))
    assert [answer.count(str(n)) for n, answer in enumerate(answers)] == [1] * 40


@pytest.mark.parametrize(
    "text",
    [
        "$ 5 ^house$ [b] {x} <i> a/b @home *star ~tilde \\back",
        "[]",
        "a\0b",
        "",
        "   ",
        "[][\n]",
        "^",
        "^^^",
        "the house^",
        "\n\n",
        "100 %",
    ],
)
def test_reserved_characters_neither_hang_nor_end_the_programs(pipeline: ApertiumPipeline, text: str):
    pipeline.translate(text)
    assert pipeline.translate("The house is big.") == "La casa es grande."


def test_an_unknown_word_passes_without_marks(pipeline: ApertiumPipeline):
    assert "Zyxwvut" in pipeline.translate("Zyxwvut is big.")
    assert "*" not in pipeline.translate("Zyxwvut is big.")


def test_a_program_that_died_between_two_texts_is_started_again(pipeline: ApertiumPipeline):
    pipeline.translate("house")
    victim = pipeline._processes[3]
    victim.kill()
    victim.wait(timeout=30)
    assert pipeline.translate("The house is big.") == "La casa es grande."


def test_a_program_that_dies_in_the_middle_is_an_error_once(tmp_path: Path):
    (tmp_path / "dying.mode").write_text("false $1\n")
    programs = ApertiumPipeline("dying", modes_path=tmp_path, timeout_s=30)
    with pytest.raises((RuntimeError, OSError)):
        programs.translate("house")
    assert programs._processes == []


def test_silence_is_a_time_out_and_the_programs_are_ended(tmp_path: Path):
    # what the `apertium -z` command does: it takes the text and never answers
    (tmp_path / "mute.mode").write_text("sed '/./d'\n")
    programs = ApertiumPipeline("mute", modes_path=tmp_path, timeout_s=0.3)
    programs._start()
    (process,) = programs._processes
    with pytest.raises(TimeoutError, match=r"0\.3 s"):
        programs.translate("house")
    assert process.poll() is not None
    assert programs._processes == []


def test_closing_ends_every_program_and_may_be_repeated(pipeline: ApertiumPipeline):
    pipeline.translate("house")
    processes = list(pipeline._processes)
    pipeline.close()
    pipeline.close()
    assert len(processes) > 5
    assert all(process.poll() is not None for process in processes)


def test_missing_data_names_the_remedy(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="make setup"):
        ApertiumPipeline("eng-spa", modes_path=tmp_path)


def test_a_missing_program_is_named_and_nothing_stays_running(tmp_path: Path):
    (tmp_path / "gone.mode").write_text(f"{shutil.which('cat')} | no-such-program 'x'\n")
    programs = ApertiumPipeline("gone", modes_path=tmp_path)
    with pytest.raises(MissingPrerequisiteError, match="no-such-program"):
        programs.translate("house")
    assert programs._processes == []


def test_a_mode_file_becomes_argument_vectors():
    commands = parse_mode("lt-proc 'a b.bin' | apertium-tagger -g $2 'x.prob' | lt-proc $1 'c.bin'\n")
    assert commands == [
        ["lt-proc", "-z", "a b.bin"],
        ["apertium-tagger", "-z", "-g", "x.prob"],
        ["lt-proc", "-z", "-n", "c.bin"],
    ]


def test_the_installed_modes_need_no_shell():
    for mode in ("eng-spa", "spa-eng"):
        for command in parse_mode((MODES_PATH / f"{mode}.mode").read_text()):
            assert shutil.which(command[0])
            assert not any(character in argument for argument in command for character in "$|;&`")


@settings(max_examples=200)
@given(
    st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\0^\N{RIGHT SINGLE QUOTATION MARK}")
    )
)
def test_escaping_is_undone(text: str):
    assert unescape(escape(text)) == " ".join(text.split())


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("We're late", "We are late"),
        ("I'm here, it's fine", "I am here, it is fine"),
        ("They don\N{RIGHT SINGLE QUOTATION MARK}t know", "They do not know"),
        ("We can't and won't", "We cannot and will not"),
        ("Let's go", "let us go"),
        ("The team's captain", "The team's captain"),
    ],
)
def test_contractions_are_written_out(spoken: str, written: str):
    assert expand_contractions(spoken) == written
