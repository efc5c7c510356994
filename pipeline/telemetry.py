"""Switches the telemetry of libraries off; `pipeline/__init__.py` does so before any of them is imported."""

from __future__ import annotations

import os
import sys

# Variables rather than calls, because child processes inherit them and some libraries read them at import.
VARIABLES = {
    "DO_NOT_TRACK": "1",  # https://donottrack.sh, which huggingface_hub and other programs follow
    "GRADIO_ANALYTICS_ENABLED": "False",  # the page's components, and a check for a newer Gradio
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, datasets and Gradio: versions, the calling agent
}


def switch_off() -> None:
    """Switches it off for this process and its children, whatever the environment says."""
    os.environ.update(VARIABLES)
    # OpenVINO and NNCF post to Google Analytics when imported, and store an id in ~/intel. No variable stops them, and
    # opting out would have to be written to ~/intel; without the package openvino_telemetry, both send nothing.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
