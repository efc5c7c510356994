"""Graphs of networks in OpenVINO: making them of weights, and running them from several threads at once."""

from __future__ import annotations

import platform
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

import numpy as np
import openvino
from openvino import opset13 as ops
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline.core.processors import usable_cores
from pipeline.core.types import FloatArray

Node: TypeAlias = "openvino.Output | openvino.Node"


def constant(values: FloatArray | float, shape: tuple[int, ...] | None = None) -> openvino.Node:
    """A number or array in float32, of another shape if one is given."""
    array = np.asarray(values, np.float32)
    return ops.constant(array.reshape(shape or array.shape))


class LayerWeights:
    """The weights of a network's layers, named as in torch's `state_dict`; makes OpenVINO's layers of them.

    A layer that is missing raises KeyError, one that does not fit OpenVINO's RuntimeError.
    """

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        self._arrays = arrays

    def convolution(self, name: str, to: Node, stride: int = 1, padding: int = 0) -> openvino.Node:
        """A convolution with its bias; a depthwise one where each filter has a single input channel."""
        weight, bias = self._arrays[f"{name}.weight"], self._arrays[f"{name}.bias"]
        how = [stride] * 2, [padding] * 2, [padding] * 2, [1, 1]
        if weight.shape[1] == 1:
            convolved = ops.group_convolution(to, constant(weight[:, None]), *how)
        else:
            convolved = ops.convolution(to, constant(weight), *how)
        return ops.add(convolved, constant(bias, (1, -1, 1, 1)))

    def prelu(self, name: str, to: Node) -> openvino.Node:
        """PReLU, with one slope for all channels or one for each."""
        return ops.prelu(to, constant(self._arrays[f"{name}.weight"]))

    def product(self, name: str, to: Node) -> openvino.Node:
        """A dense layer with its bias."""
        product = ops.matmul(to, constant(self._arrays[f"{name}.weight"]), False, True)
        return ops.add(product, constant(self._arrays[f"{name}.bias"], (1, -1)))


def load_arrays(path: Path) -> dict[str, FloatArray]:
    """A safetensors file's arrays in float32; ValueError if it is none."""
    try:
        return {name: array.astype(np.float32) for name, array in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} does not hold a network") from error


_Running = deque[tuple[openvino.InferRequest, FloatArray]]  # with their inputs, which must exist until they are done
REQUESTS_PER_STREAM = 2  # one that runs and one that is ready to run
BF16, INT8, FLOAT32 = "bf16", "int8", "f32"
CONVOLUTIONS, CONSTANTS = ("Convolution", "GroupConvolution"), ("Constant", "Convert")  # in half precision, converted
MAX_FLOAT32 = 3e38  # nearly
CROPS_PER_PART = 5  # that a core embeds at a time: the fastest of 5, 10, 20 and 40


class InferenceRequests:
    """A compiled network's inference requests, all made before any of them runs. Safe to use from several threads.

    Making a request reads the graph, which OpenVINO's CPU plugin (2026.4) changes while another request runs on inputs
    of a new size. Requests that were made when needed crashed the process once in some thousand photos.
    """

    def __init__(self, compiled: openvino.CompiledModel, streams: int = 1) -> None:
        """`streams`: number of inference requests for which the network was compiled to run concurrently."""
        self._heads = len(compiled.outputs)
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(REQUESTS_PER_STREAM * streams):
            self._free.put(compiled.create_infer_request())

    def __call__(self, inputs: Iterable[FloatArray]) -> list[list[FloatArray]]:
        """The network's outputs for each of the inputs, which run concurrently."""
        running: _Running = deque()
        results: list[list[FloatArray]] = []
        try:
            for array in inputs:
                request = self._next(running, results)
                running.append((request, array))
                request.start_async({0: array}, share_inputs=True)
            while running:
                self._finish(running, results)
        finally:
            for request, _ in running:  # after an error; none goes back while it runs
                with suppress(RuntimeError):
                    request.wait()
                self._free.put(request)
        return results

    def _next(self, running: _Running, results: list[list[FloatArray]]) -> openvino.InferRequest:
        """A free request; where there is none, this call's oldest one, so that two calls never wait for each other."""
        while running:
            try:
                return self._free.get_nowait()
            except Empty:
                self._finish(running, results)
        return self._free.get()

    def _finish(self, running: _Running, results: list[list[FloatArray]]) -> None:
        """Waits for the oldest request, and appends its outputs."""
        request, _ = running[0]
        request.wait()
        results.append([np.array(request.get_output_tensor(place).data) for place in range(self._heads)])
        running.popleft()
        self._free.put(request)


def native_precision() -> str:
    """The precision in which this processor is fastest: bf16 where it has that, else int8 if it is an x86-64 one."""
    if openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16:
        return BF16
    return INT8 if platform.machine() in ("x86_64", "AMD64") else FLOAT32


def requests(
    model: openvino.Model, streams: int, precision: str = "f32", threads: int | None = None
) -> InferenceRequests:
    """Compiles a network.

    Args:
        model: its graph.
        streams: number of inference requests that run concurrently.
        precision: OpenVINO's name of the precision.
        threads: of all streams together; by default one for each stream.
    """
    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads or streams),
        "NUM_STREAMS": str(streams),
    }
    return InferenceRequests(openvino.Core().compile_model(model, "CPU", config), streams)


def keep_biases(graph: openvino.Model) -> None:
    """Keeps the convolutions' biases in float32 where the graph runs in bf16, by a clamp without effect before them.

    OpenVINO rounds what it recognises as a bias, which shifts all vectors in one direction. On faces of LFW, the median
    distance from FaceNet's vectors in float32 is 0.018 without this and 0.009 with it; for the compact network 0.017
    and 0.014.
    """
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Add" and _kinds(node)[0] in CONVOLUTIONS and _kinds(node)[1] in CONSTANTS:
            unchanged = ops.clamp(node.input_value(0), -MAX_FLOAT32, MAX_FLOAT32)
            node.input(0).replace_source_output(unchanged.output(0))


def _kinds(node: openvino.Node) -> list[str]:
    return [source.get_node().get_type_name() for source in node.input_values()]


class Batched:
    """A network of one output, fast with one input and with many. Safe to use from several threads.

    A few inputs get all cores together. Of many, each core takes parts of its own, which is 1.2 times as fast, and
    twice on a busy machine, where no core waits for the slowest.
    """

    def __init__(self, model: openvino.Model, precision: str) -> None:
        """`precision` is OpenVINO's name of the precision; for bf16 the graph is changed by `keep_biases`."""
        if precision == BF16:
            keep_biases(model)
        self._model = model
        self._precision = precision
        self._few = self._compiled(1)
        self._many: InferenceRequests | None = None
        self._lock = threading.Lock()

    def __call__(self, batch: FloatArray) -> FloatArray:
        """The output for a batch (n, ...), as float32."""
        if len(batch) <= CROPS_PER_PART:
            return self._few([batch])[0][0].astype(np.float32)
        with self._lock:  # compiled when needed: a page that only searches saves its memory
            self._many = self._many or self._compiled(usable_cores())
        parts = self._many(batch[start : start + CROPS_PER_PART] for start in range(0, len(batch), CROPS_PER_PART))
        return np.concatenate([heads[0] for heads in parts]).astype(np.float32)

    def _compiled(self, streams: int) -> InferenceRequests:
        return requests(self._model, streams, self._precision, usable_cores())
