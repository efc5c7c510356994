"""No library sends anything of its own accord; tests/faults/test_connections.py watches all commands and the page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE
from pipeline.telemetry import VARIABLES, switch_off
from tests.network import left_at_home, left_the_machine, needs_strace, plain_environment, strace

ROOT = Path(__file__).parent.parent
PHOTO = SAMPLE / "Composite 01" / "1.jpg"
LOOK_UP = "import socket; socket.getaddrinfo('name.invalid', 80)"
OF_A_CHILD = f"import multiprocessing; multiprocessing.Process(target=exec, args=({LOOK_UP!r},)).start()"
CONNECT = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"  # an address in no network
WITHIN = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
NETWORK = "from pipeline.encoder import mini; mini.mini_graph"
CONVERSION = (
    "import torch; from pipeline.encoder.torch_networks import as_graph; as_graph(torch.nn.Conv2d(3, 1, 3), 16)"
)


def traced(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Python with these arguments, and what left the machine meanwhile."""
    needs_strace()
    command = [*strace(folder / "trace"), sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=plain_environment(folder), capture_output=True, text=True)
    return done, left_the_machine(folder / "trace")


@pytest.mark.parametrize("code", [LOOK_UP, OF_A_CHILD, CONNECT])
def test_the_watch_sees_look_ups_and_connections_of_children_too(code: str, tmp_path: Path) -> None:
    assert traced(tmp_path, "-c", code)[1] != []


def test_the_watch_lets_connections_within_the_machine_pass(tmp_path: Path) -> None:
    done, left = traced(tmp_path, "-c", WITHIN)
    assert (done.returncode, left) == (0, [])
    assert "127.0.0.1" in (tmp_path / "trace").read_text()


@pytest.mark.parametrize("code", [NETWORK, pytest.param(CONVERSION, marks=pytest.mark.slow)])
def test_openvino_sends_nothing_and_keeps_no_id(code: str, tmp_path: Path) -> None:
    done, left = traced(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert left == []
    assert left_at_home(tmp_path) == set()


@pytest.mark.slow
def test_a_search_on_the_command_line_asks_nobody(tmp_path: Path) -> None:
    commands = (["build", "--recipe", MINI], ["search", "--recipe", MINI, str(PHOTO)])
    for command in commands:
        done, left = traced(tmp_path, "-m", "pipeline", *command)
        assert done.returncode == 0, done.stderr
        assert left == []
    assert left_at_home(tmp_path) == set()


def test_it_is_off_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "0")
    switch_off()
    assert {name: os.environ[name] for name in VARIABLES} == VARIABLES


@pytest.mark.slow
def test_the_hub_and_gradio_know_it_before_they_are_imported(tmp_path: Path) -> None:
    """`app.py` imports Gradio, which imports the Hub's client, which reads the environment while it is imported."""
    code = (
        "import app; from gradio.analytics import analytics_enabled; from huggingface_hub import constants; "
        "from huggingface_hub.utils import build_hf_headers; "
        "print(analytics_enabled(), constants.HF_HUB_DISABLE_TELEMETRY, 'torch' in str(build_hf_headers()))"
    )
    environment = plain_environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr
