from __future__ import annotations

import asyncio
import io
import json
import logging
import string
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livedub.observability import JsonFormatter, Redactor, configure_logging, current_log_context, log_context

SECRET = st.text(string.ascii_letters + string.digits + "-._~+/", min_size=8, max_size=40)
PLAIN = Redactor()


@pytest.fixture(autouse=True)
def _restore_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def sink() -> io.StringIO:
    stream = io.StringIO()
    configure_logging(stream=stream, secrets=["hunter2hunter2"], fields={"service": "sts"})
    return stream


def lines(sink: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def last(sink: io.StringIO) -> dict[str, Any]:
    return lines(sink)[-1]


logger = logging.getLogger("livedub.test")


def log_raised(message: str, error: Exception) -> None:
    try:
        raise error
    except type(error):
        logger.exception(message)


class TestJson:
    def test_a_line_says_when_what_and_where(self, sink: io.StringIO):
        before = datetime.now(timezone.utc)
        logger.warning("fragment %d is %s", 7, "late")
        line = last(sink)
        at = datetime.fromisoformat(line.pop("ts"))
        assert abs((at - before).total_seconds()) < 5
        assert line == {
            "level": "warning",
            "logger": "livedub.test",
            "message": "fragment 7 is late",
            "service": "sts",
        }

    def test_line_breaks_stay_inside_one_line(self, sink: io.StringIO):
        logger.info("one\ntwo")
        assert len(sink.getvalue().splitlines()) == 1
        assert last(sink)["message"] == "one\ntwo"

    def test_extra_fields_are_kept_but_never_replace_the_line_s_own(self, sink: io.StringIO):
        logger.info(
            "hi",
            extra={"port": 8000, "level": "nonsense", "spans": [(1, 2)], "path": io, "lag": float("nan")},
        )
        line = last(sink)
        assert line["lag"] == "nan"  # JSON has no such number
        assert (line["port"], line["level"], line["spans"]) == (8000, "info", [[1, 2]])

    def test_a_traceback_is_one_field(self, sink: io.StringIO):
        log_raised("it broke", ValueError("token=abcdefgh12"))
        assert "ValueError: token=***" in last(sink)["exception"]
        assert "abcdefgh12" not in sink.getvalue()

    def test_a_bad_format_string_still_writes_a_line(self):
        record = logging.makeLogRecord({"msg": "%d fragments", "args": ("many",)})
        line = json.loads(JsonFormatter(PLAIN, {}).format(record))
        assert line["message"] == "%d fragments (arguments do not fit)"

    def test_a_huge_message_is_cut(self, sink: io.StringIO):
        logger.info("x" * 100_000)
        assert last(sink)["message"].endswith("(100000 characters)")
        assert len(sink.getvalue()) < 10_000

    def test_configuring_twice_writes_once(self, sink: io.StringIO):
        configure_logging(stream=sink)
        logger.info("once")
        assert len(lines(sink)) == 1

    def test_level_and_chatty_libraries(self, sink: io.StringIO):
        logger.debug("no")
        logging.getLogger("httpx").info('HTTP Request: GET http://h/?token=x "200 OK"')
        assert sink.getvalue() == ""


class TestContext:
    def test_nested_contexts_add_up_and_end(self, sink: io.StringIO):
        with log_context(stream_id="stadium", generation=3):
            with log_context(fragment_id="stadium/3/7"):
                logger.info("inside")
            logger.info("between")
        logger.info("outside")
        inside, between, outside = lines(sink)
        assert (inside["stream_id"], inside["generation"], inside["fragment_id"]) == (
            "stadium",
            3,
            "stadium/3/7",
        )
        assert "fragment_id" not in between
        assert "stream_id" not in outside

    def test_ends_on_an_exception_too(self):
        with pytest.raises(RuntimeError), log_context(stream_id="a"):
            raise RuntimeError
        assert current_log_context() == {}

    async def test_tasks_keep_their_own(self, sink: io.StringIO):
        meet = asyncio.Barrier(2)

        async def work(fragment_id: str) -> None:
            with log_context(fragment_id=fragment_id):
                await meet.wait()
                logger.info("working on %s", fragment_id)

        with log_context(stream_id="a"):
            await asyncio.wait_for(asyncio.gather(work("a/0/1"), work("a/0/2")), 5)
        assert {line["fragment_id"] for line in lines(sink)} == {"a/0/1", "a/0/2"}
        for line in lines(sink):
            assert line["message"].endswith(line["fragment_id"])
            assert line["stream_id"] == "a"

    def test_static_fields_reach_other_threads(self, sink: io.StringIO):
        thread = threading.Thread(target=logger.info, args=("from a thread",))
        thread.start()
        thread.join(5)
        assert last(sink)["service"] == "sts"


class TestPlain:
    def test_reads_well(self):
        sink = io.StringIO()
        configure_logging(style="plain", stream=sink)
        with log_context(stream_id="stadium", fragment_id="stadium/3/7"):
            logger.warning("late by %d ms", 40)
        text = sink.getvalue().rstrip()
        assert text.endswith(
            "WARNING livedub.test: late by 40 ms [stream_id=stadium fragment_id=stadium/3/7]"
        )
        assert text[12] == "Z"

    def test_shows_tracebacks_below_without_secrets(self):
        sink = io.StringIO()
        configure_logging(style="plain", stream=sink)
        log_raised("egress failed", OSError("rtmp://host/live/x?key=abcdefgh"))
        assert "OSError: rtmp://host/live/x?***" in sink.getvalue()


class TestRedaction:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("rtmp://h:1935/live/a/in?token=abc&x=1", "rtmp://h:1935/live/a/in?***"),
            ("connecting to 'rtsp://user:pa:ss@cam/1'", "connecting to 'rtsp://***@cam/1'"),
            ("http://u:p@h/a?q=1#f next", "http://***@h/a?*** next"),
            ("Authorization: Bearer abc.def", "Authorization: ***"),
            ("sent Bearer abc.def, then", "sent Bearer ***, then"),
            ('{"api_key": "a b c", "n": 1}', '{"api_key": ***, "n": 1}'),
            ("STS_API_KEY=abc def", "STS_API_KEY=*** def"),
            ("{'password': 'it is, long'}", "{'password': ***}"),
            ("publish_token=abc;next=1", "publish_token=***;next=1"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
            ("-----BEGIN PRIVATE KEY-----\nMII", "***"),
        ],
    )
    def test_credentials_go(self, text: str, expected: str):
        assert PLAIN.text(text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "fragment stadium/3/7 is late: 40 ms",
            "http://127.0.0.1:8000/api/v1/sts/process",
            "keyframe every 2 s, monkey: 1",
            "is it late? yes: reason=late",
            "mailto a@b.example",
        ],
    )
    def test_everything_else_stays(self, text: str):
        assert PLAIN.text(text) == text

    @settings(deadline=None)
    @given(
        SECRET,
        st.sampled_from(
            [
                "rtmp://host/live/x?token={}",
                "https://h/a?sig=1&k={}&b=2",
                "rtsp://user:{}@host/1",
                "Authorization: Bearer {}",
                '{{"upload_token": "{}"}}',
                "{{'api-key': '{}'}}",
                "MEDIA_UPLOAD_TOKEN={}",
                "db_password: {}",
            ],
        ),
        st.sampled_from(["{}", "before {} after", "({})", "'{}'"]),
    )
    def test_no_secret_survives_where_secrets_stand(self, secret: str, place: str, around: str):
        if "@host" in place:
            secret = secret.replace("/", "%2F")
        assert secret not in PLAIN.text(around.format(place.format(f"q7{secret}")))

    @settings(deadline=None)
    @given(SECRET, st.text(max_size=30), st.text(max_size=30))
    def test_named_secrets_go_wherever_they_stand(self, secret: str, before: str, after: str):
        assert secret not in Redactor([secret]).text(
            f"{before}{secret}{after}".replace(secret, f" {secret} ")
        )

    def test_named_secrets_in_the_log(self, sink: io.StringIO):
        logger.info("trying hunter2hunter2 now", extra={"argv": ["--x", "hunter2hunter2"]})
        assert "hunter2" not in sink.getvalue()

    def test_short_or_empty_secrets_do_not_eat_the_text(self):
        assert Redactor(["", "a"]).text("a b a") == "a b a"

    def test_sensitive_fields_are_hidden_whole_and_deep(self, sink: io.StringIO):
        extra = {
            "settings": {"api_key": ["x1y2"], "url": "rtmp://h/a?b", "nested": {"publishToken": 12345}},
            "api_key": "",
        }
        logger.info("started", extra=extra)
        line = last(sink)
        assert line["settings"] == {
            "api_key": "***",
            "url": "rtmp://h/a?***",
            "nested": {"publishToken": "***"},
        }
        assert line["api_key"] == ""
