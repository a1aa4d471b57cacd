import pytest
from pydantic import ValidationError

from livedub.database.errors import DatabaseBusyError, DatabaseError, DatabaseUnavailableError, MigrationError
from livedub.errors import ConfigurationError, InvalidInputError, LivedubError, MissingPrerequisiteError
from livedub.library.api.refusals import is_ours, malformed_request, problem, status_of
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import JOB_REQUEST, PageRequest

CODE = LibraryErrorCode


@pytest.mark.parametrize("code", list(LibraryErrorCode))
def test_every_code_has_a_status_that_means_an_error(code: LibraryErrorCode):
    assert 400 <= status_of(code) < 600
    told = problem(LibraryError(code, "What happened.", "What to do."))
    assert (told.code, told.message, told.remedy) == (code, "What happened.", "What to do.")


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (DatabaseUnavailableError("a password"), CODE.CATALOGUE_DOWN, 503),
        (DatabaseBusyError("a password"), CODE.CATALOGUE_DOWN, 503),
        (DatabaseError("a password"), CODE.INTERNAL, 500),
        (MigrationError("a password"), CODE.MISCONFIGURED, 500),
        (ConfigurationError("a password"), CODE.MISCONFIGURED, 500),
        (MissingPrerequisiteError("a password"), CODE.MISCONFIGURED, 500),
        (LivedubError("a password"), CODE.INTERNAL, 500),
        (ZeroDivisionError("a password"), CODE.INTERNAL, 500),
    ],
)
def test_our_own_trouble_says_nothing_about_itself(error: Exception, code: LibraryErrorCode, status: int):
    told = problem(error)
    assert (told.code, status_of(told.code)) == (code, status)
    assert "password" not in told.model_dump_json()
    assert told.remedy


def test_what_a_caller_gave_is_named():
    told = problem(InvalidInputError("The name is odd.", remedy="Take another."))
    assert (told.code, told.message, told.remedy) == (
        CODE.INVALID_REQUEST,
        "The name is odd.",
        "Take another.",
    )


def refused_by_pydantic(value: object) -> LibraryError:
    with pytest.raises(ValidationError) as caught:
        JOB_REQUEST.validate_python(value)
    return malformed_request([dict(item) for item in caught.value.errors()])


def test_a_malformed_request_names_fields_and_reasons_but_no_values():
    error = refused_by_pydantic(
        {"kind": "trim", "source_key": "", "parameters": {"start_ms": "a secret", "end_ms": 1}, "more": 1}
    )
    assert error.code is CODE.INVALID_REQUEST
    assert "parameters.start_ms" in error.message
    assert "more" in error.message
    assert "secret" not in str(error)


def test_many_problems_make_a_short_message():
    error = refused_by_pydantic(
        {
            "kind": "dub",
            "source_key": "a",
            "parameters": {"targets": [{"language": 1, "voice": 2}] * 16},
        }
    )
    assert len(error.message) <= 501


def test_a_page_that_is_too_large_has_a_code_of_its_own():
    with pytest.raises(ValidationError) as caught:
        PageRequest(limit=201)
    assert problem(caught.value).code is CODE.PAGE_TOO_LARGE
    with pytest.raises(ValidationError) as caught:
        PageRequest(limit=0)
    assert problem(caught.value).code is CODE.INVALID_REQUEST


def test_only_our_own_faults_are_logged_with_a_trace():
    assert is_ours(ZeroDivisionError())
    assert is_ours(ConfigurationError("no address"))
    assert not is_ours(LibraryError(CODE.ENDPOINT_DOWN, "down"))
    assert not is_ours(LibraryError(CODE.NO_SUCH_JOB, "none"))
