"""Running compiled networks from several threads at once."""

from __future__ import annotations

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


class Numbers:
    """The numbers of a network's layers, named as torch's `state_dict` names them, and the layers they make.

    What is called for a layer that is not there is a KeyError; what does not fit, OpenVINO's RuntimeError.
    """

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        self._arrays = arrays

    def convolution(self, name: str, to: Node, stride: int = 1, padding: int = 0) -> openvino.Node:
        """A convolution with its bias. One whose weights see a single channel has a group for each."""
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


_Running = deque[tuple[openvino.InferRequest, FloatArray]]  # with their inputs, which must live until they are done
EACH_STREAM = 2  # requests: one that runs and one that is ready to
BF16 = "bf16"
CONVOLUTIONS, CONSTANTS = ("Convolution", "GroupConvolution"), ("Constant", "Convert")  # in half precision, converted
LARGEST = 3e38  # of float32, nearly
PART = 5  # inputs that a core takes at a time where there are many: the quickest of 5, 10, 20 and 40 crops of faces


class Requests:
    """A compiled network's inference requests, all made before any of them runs. Safe to use from several threads.

    They are not made when they are needed: making one reads the graph, which OpenVINO's processor plugin (2026.4)
    changes while another runs on inputs of a new size, and the process dies of it once in some thousand photos that
    several threads look at.
    """

    def __init__(self, compiled: openvino.CompiledModel, streams: int = 1) -> None:
        """`streams` is how many inputs the network was compiled to work on at once."""
        self._heads = len(compiled.outputs)
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(EACH_STREAM * streams):
            self._free.put(compiled.create_infer_request())

    def __call__(self, inputs: Iterable[FloatArray]) -> list[list[FloatArray]]:
        """What each output of the network is for each of the inputs, which run side by side."""
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
        """A free request; where there is none, this call's own oldest, so that two calls never wait for each other."""
        while running:
            try:
                return self._free.get_nowait()
            except Empty:
                self._finish(running, results)
        return self._free.get()

    def _finish(self, running: _Running, results: list[list[FloatArray]]) -> None:
        """Waits for the oldest and keeps what came out."""
        request, _ = running[0]
        request.wait()
        results.append([np.array(request.get_output_tensor(place).data) for place in range(self._heads)])
        running.popleft()
        self._free.put(request)


def native_precision() -> str:
    """OpenVINO's name for bf16 where this processor multiplies that itself, else for float32."""
    return BF16 if openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16 else "f32"


def requests(model: openvino.Model, streams: int, precision: str = "f32", threads: int | None = None) -> Requests:
    """The network compiled to work on so many inputs at once, on so many `threads` in all, by default one for each."""
    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": str(threads or streams),
        "NUM_STREAMS": str(streams),
    }
    return Requests(openvino.Core().compile_model(model, "CPU", config), streams)


def keep_biases(graph: openvino.Model) -> None:
    """Keeps the convolutions' biases in float32 where the graph runs in bf16, by what does nothing in between.

    OpenVINO rounds what it takes for a bias, and moves all vectors in one direction by that. Of faces of LFW, FaceNet's
    vectors are 0.018 from those in float32 in the middle, and 0.009 so; the compact network's 0.017 and 0.014.
    """
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Add" and _kinds(node)[0] in CONVOLUTIONS and _kinds(node)[1] in CONSTANTS:
            as_it_is = ops.clamp(node.input_value(0), -LARGEST, LARGEST)
            node.input(0).replace_source_output(as_it_is.output(0))


def _kinds(node: openvino.Node) -> list[str]:
    return [source.get_node().get_type_name() for source in node.input_values()]


class Batched:
    """A network of one output that is quick with one input, and with many: safe to use from several threads.

    One input, or a few, get all cores. Of many each core takes parts of its own, which is 1.2 times as fast as all of
    them at one part, and twice on a busy machine: nobody waits for the slowest.
    """

    def __init__(self, model: openvino.Model, precision: str) -> None:
        """`precision` is OpenVINO's name for the numbers it calculates with; for bf16 the model is made ready."""
        if precision == BF16:
            keep_biases(model)
        self._model = model
        self._precision = precision
        self._few = self._compiled(1)
        self._many: Requests | None = None
        self._lock = threading.Lock()

    def __call__(self, batch: FloatArray) -> FloatArray:
        """The output for a batch (n, ...), as float32."""
        if len(batch) <= PART:
            return self._few([batch])[0][0].astype(np.float32)
        with self._lock:  # a page that only searches never needs it, and it takes memory
            self._many = self._many or self._compiled(usable_cores())
        parts = self._many(batch[start : start + PART] for start in range(0, len(batch), PART))
        return np.concatenate([heads[0] for heads in parts]).astype(np.float32)

    def _compiled(self, streams: int) -> Requests:
        return requests(self._model, streams, self._precision, usable_cores())
