"""Switches off what libraries send of their own accord; `pipeline/__init__.py` does so before any of them is imported.

A face is nobody else's business, and neither is that somebody searches for one.
"""

from __future__ import annotations

import os
import sys

# Variables rather than calls, because child processes inherit them and some libraries read them while imported.
VARIABLES = {
    "DO_NOT_TRACK": "1",  # https://donottrack.sh, which huggingface_hub and other programs follow
    "GRADIO_ANALYTICS_ENABLED": "False",  # what a page is made of, and a look for a newer Gradio
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of huggingface_hub, datasets and Gradio: torch's version, the calling agent
}


def switch_off() -> None:
    """For this process and its children, whatever the environment said before."""
    os.environ.update(VARIABLES)
    # OpenVINO and NNCF post to Google Analytics when imported, and keep an id in ~/intel. No variable stops them, and
    # a refusal would have to be written to ~/intel as well; where the package is not installed, both go without.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
