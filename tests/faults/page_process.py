"""Searches with the files named on stdin, by the command line's function and by the page's handler: one JSON line each.

A process of its own, so that its memory can be measured; and one for all, so that whatever a file breaks is met by the
next one.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from pipeline.core.recipes import MINI, PACKAGED
from pipeline.core.settings import Settings
from pipeline.galleries.galleries import MAIN, Galleries
from pipeline.galleries.preparation import Preparation

_MEMORY = Path("/proc/self/status")


def measured(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the work gives, the seconds it took, and the most memory resident meanwhile in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    started = time.perf_counter()
    done = work()
    peak = next(line for line in _MEMORY.read_text().splitlines() if line.startswith("VmHWM"))
    return done | {"seconds": time.perf_counter() - started, "peak_mb": int(peak.split()[1]) / 1024}


def by_command_line(photo: str) -> dict[str, Any]:
    """`python -m pipeline search`, within this process."""
    from pipeline import __main__ as cli

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main(["search", "--recipe", MINI, "--", photo])
        except Exception:
            return {"code": None, "said": traceback.format_exc()}
    return {"code": code, "said": (err if code == 2 else out).getvalue()}


def page_handler(preparation: Preparation) -> Callable[[str], dict[str, Any]]:
    """What the page does with a photo that was dropped on it."""
    import gradio as gr

    from pipeline.galleries.ask import Which
    from pipeline.page.parts import Parts
    from pipeline.page.presenter import searched
    from pipeline.page.query import Request

    with gr.Blocks():
        parts = Parts(Galleries(preparation), gr.Radio(), gr.Tabs())

    def handle(photo: str) -> dict[str, Any]:
        request = Request(photo, MAIN, MINI)
        try:
            shown = searched(preparation, request)
            parts.changes(shown)
            every = searched(preparation, request, Which.EVERY_FACE).sentence if "earch for all" in shown.faces else ""
        except Exception:
            return {"code": None, "said": traceback.format_exc()}
        refused = "role='alert'" in shown.sentence
        return {"code": 2 if refused else 0, "said": shown.sentence, "every": every}

    return handle


def main() -> None:
    """Answers until stdin ends; the first line says that it can."""
    from pipeline.galleries import gallery as gallery_module

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    gallery = gallery_module.open_gallery(Settings.from_env())
    gallery_module.open_gallery = lambda settings: gallery  # opened once, as a page does
    preparation = Preparation(gallery)
    preparation.start(PACKAGED)
    preparation.wait()
    assert MINI in preparation.ready(), preparation.status(MINI)
    handle = page_handler(preparation)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        photo = json.loads(line)
        answer = {
            "command line": measured(lambda photo=photo: by_command_line(photo)),
            "page": measured(lambda photo=photo: handle(photo)),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
