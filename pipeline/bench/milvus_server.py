"""A temporary Milvus server from `pip install milvus==2.3.5` (Linux x86-64), for benchmarks and tests.

It always listens on all addresses of the machine, its authentication can be bypassed (CVE-2025-64513), its operators'
port has none (CVE-2026-26190), and there is no later version as a wheel. Use it only on a machine that strangers cannot
reach, and for data that may be lost; a permanent server should be Milvus 2.6.10 or later.
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
    """A server process on a free port, which stores everything in `folder`; runs inside a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self._server: Any = None

    @property
    def uri(self) -> str:
        """The server's address, which `stop` and `start` do not change."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """The folder of the stored rows, indexes and message log."""
        return self.folder / "data"

    def start(self) -> None:
        """Starts the server and waits until it answers; SettingsError if it cannot start or the package is missing."""
        if self._server is not None:
            return
        try:
            from milvus import MilvusServer as Packaged
        except ImportError as error:
            raise SettingsError(
                "A Milvus server of its own needs milvus; install it with `pip install milvus==2.3.5` (Linux x86-64)."
            ) from error
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = Packaged(wait_for_started=False)  # which would wait three minutes for a process that has ended
        self._server.set_base_dir(str(self.folder))
        self._server.listen_port = self._port
        config = self._server.config
        config.try_bind_port = _bound
        # The package's etcd always listens on the same ports, which a second server would find in use.
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
        """Ends the server; its data stays."""
        if self._server is not None:
            end(self._server.server_proc, STOP_SECONDS)
            self._server.stop()  # which does not wait for a process that has much to write
            self._server = None

    def kill(self) -> None:
        """Kills the server, as a power cut would."""
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
    """A socket bound to this very port; the package's own function takes another one if it was just in use."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen()
    except OSError:
        found.close()
        return None
    return found
