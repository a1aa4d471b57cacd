"""A RunPod worker whose engine meets a broken CUDA context at the fragment with number 13."""

import asyncio
import sys

from gpu_handler.dispatcher import Dispatcher
from gpu_handler.job_handler import JobHandler
from gpu_handler.runpod_worker import _Worker
from gpu_handler.service_metrics import ServiceMetrics
from livedub.sts.contract import ErrorCode, Stage, Status, StsError, StsRequest, StsResult
from tests.contract.sts_rig import ScriptedPipeline, answer_for

UNLUCKY = 13


def answer(request: StsRequest) -> StsResult:
    if request.sequence_number != UNLUCKY:
        return answer_for(request)
    message = "RuntimeError: CUDA error: an illegal memory access was encountered"
    error = StsError(stage=Stage.ASR, code=ErrorCode.MODEL_ERROR, message=message, retryable=True)
    return StsResult(fragment_id=request.fragment_id, status=Status.ERROR, error=error)


if __name__ == "__main__":
    pipeline = ScriptedPipeline()
    pipeline.answer = answer
    dispatcher = Dispatcher(pipeline, max_concurrency=2, queue_size=2, metrics=ServiceMetrics())
    asyncio.run(dispatcher.load())
    worker = _Worker(dispatcher, concurrency=2)
    sys.exit(worker.serve(lambda replace: JobHandler(dispatcher, replace_worker=replace).handle, "STS ready"))
