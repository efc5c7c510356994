"""What a Hugging Face Space asks of a page: on ZeroGPU, a function that could take a GPU.

The networks here run on the processor, so no search is handed to a GPU: on ZeroGPU a decorated function runs in a
process of its own, takes of the visitor's share of GPU time, and can neither take nor give what is not pickled, as the
page's components. But a ZeroGPU Space without any decorated function is stopped at its start.
"""

from __future__ import annotations

from importlib.util import find_spec

GPU_SECONDS = 5  # the shortest share; nothing is ever asked for


def register(*, zero_gpu: bool) -> None:
    """To be called before the page is launched, with what `Settings` says."""
    if zero_gpu and find_spec("spaces") is not None:
        import spaces

        spaces.GPU(duration=GPU_SECONDS)(_on_a_gpu)


def _on_a_gpu() -> None:
    """What ZeroGPU finds at the start."""
