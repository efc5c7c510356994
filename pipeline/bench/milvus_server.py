"""A Milvus server of one's own, from `pip install milvus==2.3.5` (Linux x86-64): for measuring and for the tests.

It listens on all of the machine's addresses, whatever it is told; its login can be got around (CVE-2025-64513), its
port for operators has none (CVE-2026-26190), and there is no later one in a wheel. So it is for a machine that
strangers cannot reach and for data that may be lost; a server that stays should be Milvus 2.6.10 or later.
"""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

from pipeline.bench.processes import end, free_port
from pipeline.core.errors import SettingsError

START_SECONDS = 120.0
STOP_SECONDS = 30.0
_ETCD = """\
name: default
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""


class MilvusServer:
    """A server process on a free port of this machine, with everything it keeps in `folder`. Starts at `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self._server: Any = None

    @property
    def uri(self) -> str:
        """Its address; the same after `stop` and `start`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """The part of its folder that holds what it was given, its message log included."""
        return self.folder / "data"

    def start(self) -> None:
        """Starts it and waits until it answers; SettingsError if the package is missing."""
        if self._server is not None:
            return
        try:
            from milvus import MilvusServer as Packaged
        except ImportError as error:
            raise SettingsError(
                "A Milvus server of its own needs milvus; install it with `pip install milvus==2.3.5` (Linux x86-64)."
            ) from error
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = Packaged(wait_for_started=False)  # it would wait three minutes for a process that has ended
        self._server.set_base_dir(str(self.folder))
        self._server.listen_port = self._port
        config = self._server.config
        config.try_bind_port = _bound
        # Its etcd listens on ports of its own choosing, always the same: a second server would find them taken.
        etcd = self.folder / "etcd.yaml"
        etcd.write_text(_ETCD.format(client=free_port(), peer=free_port()))
        config.template_text = config.template_text.replace("etcd:\n", f"etcd:\n  config:\n    path: {etcd}\n", 1)
        self._server.start()
        self._wait()

    def _wait(self) -> None:
        health, until = f"http://127.0.0.1:{self._server.webservice_port}/healthz", time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._server.server_proc.poll() is None:
            try:
                if "OK" in requests.get(health, timeout=START_SECONDS).text:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        self.stop()
        raise SettingsError(f"The Milvus server does not start; its log is in {self.folder / 'logs'}.")

    def stop(self) -> None:
        """Ends it; what it keeps stays."""
        if self._server is not None:
            end(self._server.server_proc, STOP_SECONDS)
            self._server.stop()  # which would not wait for a process with much to put away
            self._server = None

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._server.server_proc.send_signal(signal.SIGKILL)
        self._server.server_proc.wait()
        self.stop()

    def __enter__(self) -> MilvusServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _bound(port: int) -> socket.socket | None:
    """In place of the package's own, which takes the next port where this one was in use a moment ago."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen()
    except OSError:
        found.close()
        return None
    return found
