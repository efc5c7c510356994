"""Running a compiled network from several threads: right answers in order, and no request is made on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from pipeline.core.types import FloatArray
from pipeline.encoder.graphs import REQUESTS_PER_STREAM, InferenceRequests

STREAMS = 2


@pytest.fixture(scope="module")
def compiled() -> openvino.CompiledModel:
    """Twice the input, and the sum of its columns, for inputs of any size."""
    rows = ops.parameter([-1, -1], np.float32)
    twice = ops.multiply(rows, ops.constant(np.float32(2)))
    model = openvino.Model([twice, ops.reduce_sum(rows, ops.constant(np.int64(1)))], [rows])
    return openvino.Core().compile_model(model, "CPU", {"NUM_STREAMS": str(STREAMS)})


def drawn(count: int, seed: int = 0) -> list[FloatArray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(random.integers(1, 40, 2), np.float32) for _ in range(count)]


def assert_right(inputs: list[FloatArray], outputs: list[list[FloatArray]]) -> None:
    for array, (twice, sums) in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(twice, 2 * array)
        np.testing.assert_allclose(sums, array.sum(axis=1), atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, REQUESTS_PER_STREAM * STREAMS, 50])
def test_every_input_has_its_outputs_in_order(compiled: openvino.CompiledModel, count: int) -> None:
    inputs = drawn(count)
    assert_right(inputs, InferenceRequests(compiled, STREAMS)(inputs))


def test_threads_do_not_mix_up_their_answers_or_wait_for_each_other(compiled: openvino.CompiledModel) -> None:
    requests, together = InferenceRequests(compiled, STREAMS), threading.Barrier(8)

    def run(seed: int) -> None:
        together.wait()
        for turn in range(30):
            inputs = drawn(7, 100 * seed + turn)
            assert_right(inputs, requests(inputs))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(run, seed) for seed in range(8)]:
            done.result(timeout=60)


class Counted:
    """A compiled network that counts the requests made of it."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self.outputs = compiled.outputs
        self.made = 0
        self._compiled = compiled

    def create_infer_request(self) -> Any:  # noqa: ANN401 - OpenVINO's
        self.made += 1
        return self._compiled.create_infer_request()


def test_no_request_is_made_when_others_may_run(compiled: openvino.CompiledModel) -> None:
    counted = Counted(compiled)
    requests = InferenceRequests(counted, STREAMS)  # type: ignore[arg-type]
    assert counted.made == REQUESTS_PER_STREAM * STREAMS
    requests(drawn(20))
    assert counted.made == REQUESTS_PER_STREAM * STREAMS


def test_after_an_error_every_request_is_free_again(compiled: openvino.CompiledModel) -> None:
    requests = InferenceRequests(compiled, STREAMS)

    def broken() -> Iterator[FloatArray]:
        yield from drawn(3)
        raise ValueError("no more")

    for _ in range(3):
        with pytest.raises(ValueError, match="no more"):
            requests(broken())
        with pytest.raises(RuntimeError):
            requests([*drawn(2), np.zeros((1, 2, 3), np.float32)])
    assert requests._free.qsize() == REQUESTS_PER_STREAM * STREAMS
    assert_right(drawn(5), requests(drawn(5)))


def test_outputs_are_the_callers_own(compiled: openvino.CompiledModel) -> None:
    requests = InferenceRequests(compiled)
    first = requests([np.ones((2, 2), np.float32)])[0][0]
    requests([np.full((2, 2), 5, np.float32)] * 4)
    np.testing.assert_array_equal(first, 2)
