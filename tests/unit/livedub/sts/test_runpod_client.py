from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from livedub.sts.contract import ErrorCode, PartialKind, StsPartial, StsRequest
from livedub.sts.errors import StsBadAnswer, StsFailure, StsRefused, StsTimeout, StsUnavailable
from livedub.sts.runpod_client import RunpodSts
from livedub.sts.runpod_job import MAX_RUN_BYTES
from tests.unit.livedub.sts.exchanges import audio_partial, dub, failure, request, success, text_partial
from tests.unit.livedub.sts.fake_runpod import FakeJob, FakeRunpod, bare, finishes, works, wrapped

BOUND_S = 10.0


class Listener:
    def __init__(self) -> None:
        self.heard: list[StsPartial] = []

    async def __call__(self, partial: StsPartial) -> None:
        self.heard.append(partial)


def alive() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # pyright: ignore[reportReturnType]


async def outcome(runpod: FakeRunpod, asked: StsRequest | None = None, **options: Any) -> StsFailure:
    sts = runpod.client(**options)
    with pytest.raises(StsFailure) as caught:
        await sts.process(asked or request())
    await sts.aclose()
    assert not alive()
    return caught.value


class TestRunsync:
    async def test_sends_the_contract_with_key_policy_and_wait(self):
        runpod = FakeRunpod(finishes(wrapped(success())))
        sts = runpod.client(api_key="s3cret")
        assert await sts.process(request(deadline_ms=8_000)) == success()
        (sent,) = runpod.requests
        assert (sent.method, str(sent.url)) == ("POST", "http://127.0.0.1:9/v2/ep1/runsync?wait=1000")
        assert sent.headers["authorization"] == "Bearer s3cret"
        (job,) = runpod.jobs
        assert job.request == request(deadline_ms=job.request.deadline_ms)
        assert 7_900 <= job.request.deadline_ms <= 8_000
        assert 8_900 <= job.document["policy"]["executionTimeout"] <= 9_000
        assert job.document["policy"]["ttl"] == 10_000
        await sts.aclose()

    @pytest.mark.parametrize(
        "output",
        [
            [wrapped(success())],
            [bare(text_partial()), bare(audio_partial()), wrapped(success())],
            [bare(text_partial()), bare(success())],
        ],
    )
    async def test_the_result_is_found_in_the_aggregate(self, output: list[Any]):
        sts = FakeRunpod(finishes(*output)).client()
        assert await sts.process(request()) == success()

    async def test_a_single_object_is_a_result_too(self):
        def single(job: FakeJob) -> None:
            job.status = "COMPLETED"
            job.output = bare(success())  # pyright: ignore[reportAttributeAccessIssue] - what a plain handler gives

        assert await FakeRunpod(single).client().process(request()) == success()

    async def test_a_job_that_takes_longer_is_polled_for(self):
        polls: list[str] = []

        def polled(job: FakeJob) -> None:
            polls.append(job.id)
            if len(polls) == 3:
                job.end(wrapped(success()))

        runpod = FakeRunpod(works, polled=polled)
        assert await runpod.client().process(request()) == success()
        assert polls == ["sync-job-0"] * 3
        assert not runpod.cancelled

    async def test_a_job_too_large_for_run_goes_without_partials(self):
        listener = Listener()
        runpod = FakeRunpod(finishes(bare(text_partial()), wrapped(success())))
        asked = request()
        padded = asked.audio.model_copy(update={"data_base64": asked.audio.data_base64 + "A" * MAX_RUN_BYTES})
        asked = asked.model_copy(update={"audio": padded})
        assert await runpod.client().process(asked, listener) == success()
        assert runpod.jobs[0].route == "runsync"

    async def test_what_runpod_would_not_take_is_not_sent(self):
        runpod = FakeRunpod(finishes(wrapped(success())))
        asked = request()
        padded = asked.audio.model_copy(update={"data_base64": "A" * 20_000_000})
        problem = await outcome(runpod, asked.model_copy(update={"audio": padded}))
        assert isinstance(problem, StsRefused)
        assert (problem.code, problem.retryable) == (ErrorCode.INVALID_INPUT, False)
        assert not runpod.requests


class TestStream:
    async def test_partials_come_in_order_and_once(self):
        script = [
            [bare(text_partial("en", "fr"))],
            [],
            [bare(audio_partial("fr")), bare(text_partial("en", "fr"))],
            [bare(audio_partial("en")), bare(audio_partial("fr"))],
            [wrapped(success(dub("en"), dub("fr")))],
        ]

        def polled(job: FakeJob) -> None:
            job.say(*script.pop(0))
            if not script:
                job.status = "COMPLETED"

        listener = Listener()
        runpod = FakeRunpod(works, polled=polled)
        sts = runpod.client()
        result = await sts.process(request(targets=("en", "fr")), listener)
        assert result == success(dub("en"), dub("fr"))
        assert listener.heard == [text_partial("en", "fr"), audio_partial("fr"), audio_partial("en")]
        assert [job.route for job in runpod.jobs] == ["run"]
        assert not runpod.asked("status")
        assert not runpod.cancelled
        await sts.aclose()

    async def test_a_result_that_the_stream_left_out_is_fetched(self):
        def polled(job: FakeJob) -> None:
            job.end(bare(text_partial()), wrapped(success()))
            job.unread = job.unread[:1]  # RunPod streams nothing over 1 MB

        listener = Listener()
        runpod = FakeRunpod(works, polled=polled)
        assert await runpod.client().process(request(), listener) == success()
        assert listener.heard == [text_partial()]
        assert len(runpod.asked("status")) == 1

    async def test_a_job_that_was_over_at_once_is_fetched(self):
        runpod = FakeRunpod(lambda job: job.end(wrapped(success())))
        assert await runpod.client().process(request(), Listener()) == success()

    async def test_partials_that_break_the_contract_are_dropped(self):
        wrong = [
            {"kind": "text"},
            {"progress": 0.5},
            "half done",
            None,
            bare(text_partial(fragment_id="stadium/3/8")),
            bare(text_partial("de")),
            bare(audio_partial(duration_ms=500)),
            bare(StsPartial(kind=PartialKind.TEXT, fragment_id="stadium/3/7", dubs=(dub(),))),
        ]
        listener = Listener()
        runpod = FakeRunpod(
            works, polled=lambda job: job.end(*wrong, bare(audio_partial()), wrapped(success()))
        )
        assert await runpod.client().process(request(), listener) == success()
        assert listener.heard == [audio_partial()]

    async def test_what_the_listener_raises_is_raised_and_ends_the_job(self):
        async def broken(_: StsPartial) -> None:
            raise ZeroDivisionError

        runpod = FakeRunpod(works, polled=lambda job: job.say(bare(text_partial())))
        sts = runpod.client()
        with pytest.raises(ZeroDivisionError):
            await sts.process(request(), broken)
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        await sts.aclose()
        assert not alive()


class TestErrors:
    async def test_a_typed_error_of_the_worker_arrives_as_such(self):
        refusal = failure(ErrorCode.UNSUPPORTED_LANGUAGE)
        problem = await outcome(FakeRunpod(finishes(wrapped(refusal))))
        assert isinstance(problem, StsRefused)
        assert problem.code is ErrorCode.UNSUPPORTED_LANGUAGE

    @pytest.mark.parametrize(
        ("status", "kind", "code", "retryable"),
        [
            (400, StsRefused, ErrorCode.INVALID_INPUT, False),
            (401, StsRefused, ErrorCode.AUTH_FAILED, False),
            (403, StsRefused, ErrorCode.AUTH_FAILED, False),
            (404, StsUnavailable, None, True),
            (413, StsRefused, ErrorCode.INVALID_INPUT, False),
            (429, StsRefused, ErrorCode.QUEUE_FULL, True),
            (500, StsUnavailable, None, True),
            (502, StsUnavailable, None, True),
            (307, StsUnavailable, None, True),
        ],
    )
    async def test_http_errors_are_typed_and_retried_where_that_helps(
        self, status: int, kind: type[StsFailure], code: ErrorCode | None, retryable: bool
    ):
        runpod = FakeRunpod(httpx.Response(status, content=b"<html>no</html>"))
        problem = await outcome(runpod)
        assert isinstance(problem, kind)
        assert getattr(problem, "code", None) is code
        assert problem.retryable is retryable
        assert len(runpod.requests) == (2 if retryable else 1)

    async def test_retry_after_is_obeyed_inside_the_deadline_only(self):
        runpod = FakeRunpod(httpx.Response(429, headers={"retry-after": "2"}), finishes(wrapped(success())))
        problem = await outcome(runpod, request(deadline_ms=1_500))
        assert isinstance(problem, StsRefused)
        assert problem.retry_after_ms == 2_000
        assert len(runpod.requests) == 1

    @pytest.mark.parametrize(
        ("status", "kind", "attempts"),
        [("FAILED", StsRefused, 2), ("CANCELLED", StsUnavailable, 2), ("TIMED_OUT", StsTimeout, 1)],
    )
    @pytest.mark.parametrize("listener", [None, Listener()])
    async def test_jobs_that_end_badly(
        self, status: str, kind: type[StsFailure], attempts: int, listener: Listener | None
    ):
        runpod = FakeRunpod(lambda job: job.end(status=status, error="worker exited"))
        sts = runpod.client()
        with pytest.raises(kind) as caught:
            await sts.process(request(), listener)
        await sts.aclose()
        assert len(runpod.jobs) == attempts
        assert not runpod.cancelled
        if status == "FAILED":
            assert "worker exited" in str(caught.value)

    async def test_one_retry_saves_the_fragment(self):
        runpod = FakeRunpod(lambda job: job.end(status="FAILED"), finishes(wrapped(success())))
        assert await runpod.client().process(request()) == success()
        assert [job.id for job in runpod.jobs] == ["sync-job-0", "sync-job-1"]

    async def test_no_retry_once_audio_was_delivered(self):
        listener = Listener()

        def polled(job: FakeJob) -> None:
            job.end(bare(text_partial()), bare(audio_partial()), status="FAILED")

        runpod = FakeRunpod(works, polled=polled)
        with pytest.raises(StsRefused):
            await runpod.client().process(request(), listener)
        assert listener.heard == [text_partial(), audio_partial()]
        assert len(runpod.jobs) == 1

    async def test_text_is_not_told_again_by_the_retry(self):
        listener = Listener()

        def polled(job: FakeJob) -> None:
            ending = wrapped(success()) if job.id == "job-1" else None
            job.end(
                bare(text_partial()),
                *([ending] if ending else []),
                status="COMPLETED" if ending else "FAILED",
            )

        runpod = FakeRunpod(works, polled=polled)
        assert await runpod.client().process(request(), listener) == success()
        assert listener.heard == [text_partial()]

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"nonsense",
            b"[]",
            b'{"id":"a"}',
            b'{"id":"a","status":"ON_HOLIDAY"}',
            b'{"status":"IN_QUEUE"}',
            b'{"id":"../status/b","status":"IN_QUEUE"}',
            b'{"id":"a","status":"COMPLETED"}',
            b'{"id":"a","status":"COMPLETED","output":[]}',
            b'{"id":"a","status":"COMPLETED","output":{"status":"success"}}',
        ],
    )
    async def test_nonsense_is_a_bad_answer(self, answer: bytes):
        runpod = FakeRunpod(httpx.Response(200, content=answer))
        assert isinstance(await outcome(runpod), StsBadAnswer)
        assert len(runpod.requests) == 1

    async def test_a_few_failing_polls_are_borne(self):
        runpod = FakeRunpod(works)
        runpod.poll_failures = [httpx.Response(429), httpx.ConnectError("reset"), httpx.Response(502)]
        runpod.polled = lambda job: None if runpod.poll_failures else job.end(wrapped(success()))
        assert await runpod.client().process(request(deadline_ms=8_000)) == success()
        assert len(runpod.asked("status")) == 4

    async def test_polls_that_keep_failing_end_it_and_the_job(self):
        runpod = FakeRunpod(works)
        runpod.poll_failures = [httpx.Response(502)] * 10
        problem = await outcome(runpod, request(deadline_ms=8_000), retry=False)
        assert isinstance(problem, StsUnavailable)
        assert len(runpod.asked("status")) == 4
        assert runpod.cancelled == ["sync-job-0"]

    async def test_a_job_that_is_over_is_not_cancelled_where_its_output_cannot_be_had(self):
        def polled(job: FakeJob) -> None:
            if job.status == "COMPLETED":
                runpod.poll_failures = [httpx.Response(502)]
            job.end()

        runpod = FakeRunpod(works, polled=polled)
        sts = runpod.client(retry=False)
        with pytest.raises(StsUnavailable):
            await sts.process(request(), Listener())
        await sts.aclose()
        assert not runpod.cancelled

    async def test_a_key_that_loses_its_right_is_no_reason_to_go_on(self):
        runpod = FakeRunpod(works)
        runpod.poll_failures = [httpx.Response(401)]
        problem = await outcome(runpod)
        assert isinstance(problem, StsRefused)
        assert problem.code is ErrorCode.AUTH_FAILED
        assert len(runpod.asked("status")) == 1


class TestGivingUp:
    @pytest.mark.parametrize("listener", [None, Listener()])
    async def test_a_deadline_that_passes_cancels_the_job(self, listener: Listener | None):
        runpod = FakeRunpod(works)
        sts = runpod.client()
        with pytest.raises(StsTimeout):
            await sts.process(request(deadline_ms=150), listener)
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        assert runpod.cancelled == [runpod.jobs[0].id]
        await sts.aclose()
        assert not alive()

    @pytest.mark.parametrize("listener", [None, Listener()])
    async def test_a_caller_that_stops_waiting_cancels_the_job(self, listener: Listener | None):
        polled = asyncio.Event()
        runpod = FakeRunpod(works, polled=lambda _: polled.set())
        sts = runpod.client()
        call = asyncio.create_task(sts.process(request(deadline_ms=60_000), listener))
        await asyncio.wait_for(polled.wait(), BOUND_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        assert runpod.cancelled == [runpod.jobs[0].id]
        await sts.aclose()
        assert not alive()

    async def test_a_job_whose_id_was_not_known_yet_is_cancelled_when_it_is(self):
        runpod = FakeRunpod(works)
        runpod.answers.clear()
        sts = runpod.client()
        call = asyncio.create_task(sts.process(request()))
        await asyncio.wait_for(runpod.submitted.wait(), BOUND_S)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not runpod.cancelled
        runpod.answers.set()
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        assert runpod.cancelled == ["sync-job-0"]
        await sts.aclose()
        assert not alive()

    async def test_so_is_one_whose_deadline_passes_before_the_id_is_known(self):
        runpod = FakeRunpod(works)
        runpod.answers.clear()
        sts = runpod.client()
        with pytest.raises(StsTimeout):
            await sts.process(request(deadline_ms=50))
        runpod.answers.set()
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        await sts.aclose()
        assert not alive()

    async def test_closing_does_not_wait_for_a_service_that_stalls(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("livedub.sts.runpod_client._CLOSE_BOUND_S", 0.05)
        runpod = FakeRunpod(works)
        runpod.cancels_answered.clear()
        sts = runpod.client()
        with pytest.raises(StsTimeout):
            await sts.process(request(deadline_ms=50))
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        await asyncio.wait_for(sts.aclose(), BOUND_S)
        assert not alive()

    async def test_a_submission_that_nobody_answers_is_given_up_too(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("livedub.sts.runpod_client._CLOSE_BOUND_S", 0.05)
        runpod = FakeRunpod(works)
        runpod.answers.clear()
        sts = runpod.client()
        with pytest.raises(StsTimeout):
            await sts.process(request(deadline_ms=50))
        await asyncio.wait_for(sts.aclose(), BOUND_S)
        assert not alive()

    async def test_nothing_is_cancelled_where_no_job_came_to_be(self, caplog: pytest.LogCaptureFixture):
        runpod = FakeRunpod(httpx.ConnectError("refused"))
        assert isinstance(await outcome(runpod), StsUnavailable)
        assert not runpod.cancelled
        assert not caplog.records

    async def test_a_passed_deadline_sends_nothing(self):
        clock_ns = iter((0, 10**12, 10**12))
        runpod = FakeRunpod(works)
        assert isinstance(await outcome(runpod, clock_ns=lambda: next(clock_ns)), StsTimeout)
        assert not runpod.requests


class TestHealthAndWarmUp:
    @staticmethod
    def answering(answer: httpx.Response | Exception) -> RunpodSts:
        def handle(_: httpx.Request) -> httpx.Response:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return RunpodSts("ep1", base_url="http://127.0.0.1:9/v2", transport=httpx.MockTransport(handle))

    @pytest.mark.parametrize(
        ("workers", "ready"),
        [
            ({"idle": 1}, True),
            ({"running": 2}, True),
            ({"ready": 1, "throttled": 1}, True),
            ({"initializing": 1}, False),
            ({"idle": 0, "unhealthy": 3}, False),
            ({}, False),
        ],
    )
    async def test_health_is_whether_a_worker_can_take_a_job(self, workers: dict[str, int], ready: bool):
        document = {"jobs": {"inQueue": 0}, "workers": workers}
        health = await self.answering(httpx.Response(200, json=document)).health()
        assert health.ready is ready

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (httpx.ConnectError("refused"), StsUnavailable),
            (httpx.Response(401), StsRefused),
            (httpx.Response(404), StsUnavailable),
            (httpx.Response(200, content=b"ok"), StsBadAnswer),
        ],
    )
    async def test_anything_else_is_a_failure(
        self, answer: httpx.Response | Exception, kind: type[StsFailure]
    ):
        with pytest.raises(kind):
            await self.answering(answer).health()

    async def test_warm_up_is_a_job_of_silence(self):
        silence = success(fragment_id="warm-up/0/0", text="")
        runpod = FakeRunpod(finishes(wrapped(silence.model_copy(update={"dubs": ()}))))
        await runpod.client().warm_up(timeout_ms=5_000)
        (job,) = runpod.jobs
        assert (job.request.audio.duration_ms, job.request.deadline_ms) == (
            100,
            pytest.approx(5_000, abs=100),
        )

    async def test_a_worker_that_refuses_the_silence_is_awake(self):
        refusal = failure(ErrorCode.UNSUPPORTED_LANGUAGE, fragment_id="warm-up/0/0")
        await FakeRunpod(finishes(wrapped(refusal))).client().warm_up(timeout_ms=5_000)

    async def test_a_wrong_key_is_told(self):
        with pytest.raises(StsRefused, match="STS_API_KEY"):
            await FakeRunpod(httpx.Response(401)).client().warm_up(timeout_ms=5_000)

    async def test_no_worker_in_time_is_told_and_the_job_cancelled(self):
        runpod = FakeRunpod(lambda job: None)
        sts = runpod.client()
        with pytest.raises(StsTimeout):
            await sts.warm_up(timeout_ms=100)
        await asyncio.wait_for(runpod.cancel_seen.wait(), BOUND_S)
        await sts.aclose()
        assert not alive()


async def test_many_jobs_at_once_keep_their_answers_apart():
    def polled(job: FakeJob) -> None:
        number = job.request.sequence_number
        job.end(wrapped(success(fragment_id=f"stadium/3/{number}")))

    runpod = FakeRunpod(works, polled=polled)
    sts = runpod.client()
    results = await asyncio.gather(*(sts.process(request(sequence_number=number)) for number in range(30)))
    assert [result.fragment_id for result in results] == [f"stadium/3/{number}" for number in range(30)]
    await sts.aclose()
    assert not alive()


def test_the_document_is_the_contract():
    document = json.loads(json.dumps({"input": json.loads(request().model_dump_json())}))
    assert StsRequest.model_validate_json(json.dumps(document["input"]), strict=True) == request()
