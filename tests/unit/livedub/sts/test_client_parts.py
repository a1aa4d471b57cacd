"""The pure parts of the clients: lines, partials, retry, poll pace, jobs, hedging policy."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from livedub.sts.contract import ErrorCode, PartialKind, Stage, StsPartial, StsRequest
from livedub.sts.deadline import Deadline
from livedub.sts.errors import (
    StsBadAnswer,
    StsBreakerOpen,
    StsFailure,
    StsRefused,
    StsTimeout,
    StsUnavailable,
)
from livedub.sts.hedge import HedgeConfig, HedgePolicy
from livedub.sts.lines import LineBuffer
from livedub.sts.partials import PartialGate, is_result
from livedub.sts.poll_pace import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, MS_PER_POLL_AND_JOB, PollPace
from livedub.sts.retry import MIN_RETRY_MS, RETRY_PAUSE_MS, pause_before_retry_ms
from livedub.sts.runpod_job import (
    MAX_RUN_BYTES,
    MAX_RUNSYNC_BYTES,
    JobStatus,
    Route,
    api_base,
    choose_route,
    endpoint_id,
    http_failure,
    job_document,
    job_failure,
    read_job,
    read_workers,
)
from tests.unit.livedub.sts.exchanges import audio_partial, dub, request, success, text_partial
from tests.unit.livedub.sts.fake_runpod import bare, wrapped

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def refused(
    code: ErrorCode = ErrorCode.QUEUE_FULL, *, retryable: bool = True, retry_after_ms: int = 0
) -> StsRefused:
    return StsRefused(code, "no", stage=Stage.QUEUE, retryable=retryable, retry_after_ms=retry_after_ms)


class TestLines:
    @given(
        lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=8),
        cuts=st.lists(st.integers(0, 300), max_size=12),
        ended=st.booleans(),
    )
    def test_chunks_do_not_matter(self, lines: list[bytes], cuts: list[int], ended: bool):
        text = b"\n".join(lines) + (b"\n" if ended else b"")
        edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        buffer = LineBuffer(30)
        read = [line for start, end in itertools.pairwise(edges) for line in buffer.feed(text[start:end])]
        assert read + buffer.end() == [line for line in lines if line.strip()]

    @given(size=st.integers(0, 60), largest=st.integers(1, 40), cut=st.integers(0, 60))
    def test_a_line_may_have_so_many_bytes_and_no_more(self, size: int, largest: int, cut: int):
        buffer = LineBuffer(largest)
        line = b"x" * size
        if size > largest:
            with pytest.raises(StsBadAnswer):  # noqa: PT012 - in which of the two is the point
                buffer.feed(line[:cut])
                buffer.feed(line[cut:] + b"\n")
        else:
            assert buffer.feed(line[:cut]) + buffer.feed(line[cut:] + b"\n") == ([line] if line else [])


class TestDeadline:
    @given(budget_ms=st.integers(0, 10**6), passed_ns=st.integers(0, 10**13))
    def test_never_says_more_than_is_left(self, budget_ms: int, passed_ns: int):
        now_ns = iter((5, 5 + passed_ns))
        left_ms = Deadline(lambda: next(now_ns), budget_ms).left_ms()
        assert left_ms * 1_000_000 <= budget_ms * 1_000_000 - passed_ns < (left_ms + 1) * 1_000_000


FAILURES: st.SearchStrategy[StsFailure] = st.one_of(
    st.just(StsUnavailable("gone")),
    st.just(StsTimeout("late")),
    st.just(StsBadAnswer("nonsense")),
    st.just(StsBreakerOpen("open")),
    st.builds(
        refused,
        st.sampled_from(ErrorCode),
        retryable=st.booleans(),
        retry_after_ms=st.integers(0, 10_000),
    ),
)


class TestRetry:
    @given(failure=FAILURES, left_ms=st.integers(-1_000, 20_000), delivered=st.booleans())
    def test_never_beyond_the_deadline_nor_after_audio(
        self, failure: StsFailure, left_ms: int, delivered: bool
    ):
        pause_ms = pause_before_retry_ms(failure, left_ms=left_ms, audio_delivered=delivered)
        if pause_ms is None:
            return
        assert not delivered
        assert failure.retryable
        assert RETRY_PAUSE_MS <= pause_ms <= left_ms - MIN_RETRY_MS
        assert not isinstance(failure, (StsTimeout, StsBadAnswer, StsBreakerOpen))
        if isinstance(failure, StsRefused):
            assert pause_ms >= failure.retry_after_ms
            assert failure.code is not ErrorCode.TIMEOUT

    @pytest.mark.parametrize("failure", [StsUnavailable("gone"), refused(), refused(ErrorCode.GPU_OOM)])
    def test_what_may_pass_is_tried_again(self, failure: StsFailure):
        assert pause_before_retry_ms(failure, left_ms=1_000, audio_delivered=False) == RETRY_PAUSE_MS


class TestPollPace:
    @given(
        events=st.lists(st.sampled_from(["poll", "news", "refused"]), max_size=60), jobs=st.integers(1, 200)
    )
    def test_it_stays_within_its_bounds(self, events: list[str], jobs: int):
        pace = PollPace()
        for event in events:
            if event == "news":
                pace.news()
            elif event == "refused":
                pace.refused()
            else:
                pause_ms = pace.next_pause_ms(jobs)
                floor_ms = jobs * MS_PER_POLL_AND_JOB
                assert max(FIRST_PAUSE_MS, floor_ms) <= pause_ms <= max(LONGEST_PAUSE_MS, floor_ms)

    def test_a_job_of_a_second_is_asked_about_ten_times(self):
        pace, polls, now_ms = PollPace(), 0, 0
        while now_ms < 1_000:
            now_ms += pace.next_pause_ms(1)
            polls += 1
        assert polls <= 10
        assert pace.next_pause_ms(1) == LONGEST_PAUSE_MS
        pace.news()
        assert pace.next_pause_ms(1) == FIRST_PAUSE_MS

    def test_a_longer_wait_that_was_asked_for_is_kept_once(self):
        pace = PollPace()
        pace.refused(3_000)
        assert [pace.next_pause_ms(1) for _ in range(2)] == [3_000, LONGEST_PAUSE_MS]


PIECES = st.lists(
    st.one_of(
        st.builds(lambda languages: text_partial(*languages), st.sets(st.sampled_from(["en", "fr", "de"]))),
        st.builds(
            lambda languages: audio_partial(*languages),
            st.sets(st.sampled_from(["en", "fr", "de"]), min_size=1),
        ),
        st.just(text_partial(fragment_id="stadium/3/8")),
        st.just(audio_partial(duration_ms=700)),
        st.just(StsPartial(kind=PartialKind.AUDIO, fragment_id="stadium/3/7", dubs=(dub(), dub()))),
        st.just(StsPartial(kind=PartialKind.TEXT, fragment_id="stadium/3/7", dubs=(dub(),))),
    ),
    max_size=12,
)


class TestPartialGate:
    @given(pieces=PIECES)
    async def test_everything_is_delivered_at_most_once_and_fits(self, pieces: list[StsPartial]):
        heard: list[StsPartial] = []

        async def listen(partial: StsPartial) -> None:
            heard.append(partial)

        gate = PartialGate(request(targets=("en", "fr")), listen)
        for piece in pieces:
            await gate.offer(piece)
        voices = [
            one.language for partial in heard if partial.kind is PartialKind.AUDIO for one in partial.dubs
        ]
        assert len(voices) == len(set(voices))
        assert set(voices) <= {"en", "fr"}
        assert [partial.kind for partial in heard].count(PartialKind.TEXT) <= 1
        assert {partial.fragment_id for partial in heard} <= {"stadium/3/7"}
        assert gate.audio_delivered == bool(voices)

    @given(document=ANY_JSON)
    async def test_any_json_is_survived(self, document: Any):
        heard: list[StsPartial] = []

        async def listen(partial: StsPartial) -> None:
            heard.append(partial)

        line = json.dumps(document).encode()
        await PartialGate(request(), listen).offer_json(line)
        assert not heard
        assert is_result(line) == (isinstance(document, dict) and document.get("status") is not None)

    async def test_half_new_audio_is_cut_to_what_is_new(self):
        heard: list[StsPartial] = []

        async def listen(partial: StsPartial) -> None:
            heard.append(partial)

        gate = PartialGate(request(targets=("en", "fr")), listen)
        await gate.offer(audio_partial("en"))
        await gate.offer(audio_partial("en", "fr"))
        assert heard == [audio_partial("en"), audio_partial("fr")]


class TestRunpodJob:
    @given(document=ANY_JSON)
    def test_any_answer_is_a_job_or_a_bad_answer(self, document: Any):
        try:
            state = read_job(json.dumps(document).encode())
        except StsBadAnswer:
            return
        assert state.status in JobStatus

    @given(status=st.sampled_from(JobStatus), output=ANY_JSON, stream=ANY_JSON, error=ANY_JSON)
    def test_nor_does_what_a_job_says_break_it(self, status: JobStatus, output: Any, stream: Any, error: Any):
        document = {"id": "a-u1", "status": status.value, "output": output, "stream": stream, "error": error}
        try:
            state = read_job(json.dumps(document).encode())
        except StsBadAnswer:
            assert not isinstance(stream, list)
            return
        assert (state.status, state.job_id) == (status, "a-u1")
        assert len(state.error) <= 300
        if state.status.final:
            assert isinstance(job_failure(state), StsFailure)

    @given(body=st.binary(max_size=200))
    def test_nor_do_bytes(self, body: bytes):
        with pytest.raises(StsBadAnswer):
            read_job(body)
        with pytest.raises(StsBadAnswer):
            read_workers(body)

    @pytest.mark.parametrize("result", [wrapped(success()), bare(success())])
    def test_partials_and_result_are_told_apart(self, result: dict[str, Any]):
        pieces = [bare(text_partial()), bare(audio_partial()), result]
        aggregate = read_job(json.dumps({"id": "a", "status": "COMPLETED", "output": pieces}).encode())
        chunks = [{"output": piece} for piece in pieces]
        streamed = read_job(json.dumps({"status": "IN_PROGRESS", "stream": chunks}).encode())
        for state in (aggregate, streamed):
            assert state.partials == (pieces[0], pieces[1])
            assert state.result is not None
            assert json.loads(state.result) == bare(success())

    @given(deadline_ms=st.integers(1, 120_000), left_ms=st.integers(1, 120_000))
    def test_the_policy_outlives_the_deadline_and_is_allowed(self, deadline_ms: int, left_ms: int):
        document = json.loads(job_document(request(deadline_ms=deadline_ms), left_ms))
        sent = StsRequest.model_validate_json(json.dumps(document["input"]), strict=True)
        assert sent.deadline_ms == min(deadline_ms, left_ms)
        assert document["policy"]["executionTimeout"] > max(5_000, left_ms)
        assert 10_000 <= document["policy"]["ttl"] <= 7 * 24 * 3_600_000
        assert document["policy"]["ttl"] > left_ms

    @given(size=st.integers(0, 2 * MAX_RUNSYNC_BYTES), wanted=st.booleans())
    def test_the_route_takes_what_is_sent(self, size: int, wanted: bool):
        if size > MAX_RUNSYNC_BYTES:
            with pytest.raises(StsRefused):
                choose_route(size, partials_wanted=wanted)
            return
        route = choose_route(size, partials_wanted=wanted)
        assert (route is Route.RUN) == (wanted and size <= MAX_RUN_BYTES)

    @given(status=st.integers(100, 599))
    def test_every_http_status_means_something(self, status: int):
        failure = http_failure(status, 0, about_job=False)
        assert (failure is None) == (200 <= status < 300)

    @given(name=st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?", fullmatch=True))
    def test_an_endpoint_id_is_taken_as_it_is(self, name: str):
        assert endpoint_id(f"runpod://{name}") == name

    @given(url=st.text(max_size=40))
    def test_nothing_else_gets_into_a_path(self, url: str):
        with pytest.raises(ConfigurationError):
            endpoint_id(f"runpod://{url}/")

    def test_a_base_address_loses_its_last_slash(self):
        assert api_base("https://api.runpod.ai/v2/") == "https://api.runpod.ai/v2"


class TestHedgePolicy:
    @given(
        share=st.floats(0.01, 1.0),
        asks=st.lists(st.booleans(), max_size=300),
    )
    def test_the_budget_holds_over_any_stretch(self, share: float, asks: list[bool]):
        policy = HedgePolicy(HedgeConfig(after_ms=100, max_share=share))
        hedged = []
        for late in asks:
            policy.admit()
            hedged.append(late and policy.spend())
        for begin in range(0, len(hedged), 7):
            stretch = hedged[begin:]
            assert sum(stretch) <= share * len(stretch) + 3 + 1e-6

    @given(latencies=st.lists(st.integers(0, 5_000), max_size=80))
    def test_it_waits_as_long_as_nearly_all_answers_took(self, latencies: list[int]):
        policy = HedgePolicy(HedgeConfig(window=50, min_latencies=10))
        for latency_ms in latencies:
            policy.observe(latency_ms)
        after_ms = policy.after_ms()
        if len(latencies) < 10:
            assert after_ms is None
            return
        assert after_ms is not None
        window = latencies[-50:]
        assert sum(latency_ms <= after_ms for latency_ms in window) >= 0.95 * len(window)
        assert 50 <= after_ms <= max(50, *window)

    def test_a_fixed_time_needs_no_latencies(self):
        assert HedgePolicy(HedgeConfig(after_ms=700)).after_ms() == 700

    @pytest.mark.parametrize("wrong", [{"after_ms": -1}, {"max_share": 0.0}, {"max_share": 1.5}])
    def test_what_cannot_be_is_refused(self, wrong: dict[str, Any]):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            HedgeConfig(**wrong)
