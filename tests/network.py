"""What a process and all its children connect to and which names they look up, seen from outside by strace.

A watch inside the process sees neither its children nor the look-ups of C libraries. strace sees the attempt, so a
machine without a network shows the same as one with it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from pipeline.core.settings import VARIABLES
from pipeline.telemetry import VARIABLES as OFF

STRACE = shutil.which("strace")
# OpenVINO's telemetry is silent where one of these is set, and so would be a test on a build server.
BUILD_SERVER = ("CI", "TF_BUILD", "JENKINS_URL")
ADDRESS = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
DNS_PORT = "htons(53)"
RESOLVERS = re.compile(r'sun_path="[^"]*(?:resolve|avahi|mdns)')  # systemd-resolved's socket and the like


@cache
def _problem() -> str:
    if STRACE is None:
        return "needs strace: apt-get install strace"
    done = subprocess.run([STRACE, "-qq", "-o", os.devnull, "true"], capture_output=True, text=True)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


def needs_strace() -> None:
    """Skips the test where nothing can be traced."""
    if _problem():
        pytest.skip(_problem())


def strace(trace: Path) -> list[str]:
    """What to put before a command, so that its calls and those of its children are written to `trace`."""
    assert STRACE is not None
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    return [STRACE, "-f", "--seccomp-bpf", "-qq", "-s", "128", "-e", calls, "-o", str(trace), "--"]


def left_the_machine(trace: Path) -> list[str]:
    """The calls to another machine and those to whoever looks names up, wherever that listens."""
    return [line for line in trace.read_text(errors="replace").splitlines() if _leaves(line)]


def _leaves(line: str) -> bool:
    if "AF_UNIX" in line:
        return RESOLVERS.search(line) is not None
    found = ADDRESS.search(line)
    return found is not None and (DNS_PORT in line or not _is_here(found[1]))


def _is_here(text: str) -> bool:
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def plain_environment(folder: Path) -> dict[str, str]:
    """The environment of somebody who has set nothing: the sample gallery, with everything written in `folder`."""
    unset = {*VARIABLES, *OFF, *BUILD_SERVER}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {name: value for name, value in os.environ.items() if name not in unset} | {
        "HOME": str(home),
        "FACESEARCH_DATASET": "sample",
        "FACESEARCH_INDEX": str(folder / "index"),
        "FACESEARCH_CACHE": str(folder / "cache"),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
    }


def left_at_home(folder: Path) -> set[str]:
    """What stands in the home of `plain_environment` that is not a cache or a setting."""
    return {path.name for path in (folder / "home").iterdir()} - {".cache", ".config"}
