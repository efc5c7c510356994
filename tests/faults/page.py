"""A page on the sample gallery in a process of its own, as `app.py` starts it, that may connect to itself only.

`python -m tests.faults.page FOLDER SECONDS [recipe]`: its index is in FOLDER, uploads are kept for SECONDS. Whatever it
connects to elsewhere is written to FOLDER/connections.
"""

from __future__ import annotations

import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from pipeline.core.settings import Settings


def watch_connections(record: Path) -> None:
    """Notes every address outside this machine that a socket of this process is to connect to, and refuses it."""
    connect = socket.socket.connect

    def watched(self: socket.socket, address: object) -> None:
        inside = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1", "localhost", "0.0.0.0")
        if not inside:
            with record.open("a") as stream:
                stream.write(f"{address}\n")
            raise ConnectionRefusedError("this page may connect to itself only")
        connect(self, address)

    socket.socket.connect = watched


def main() -> None:
    """Serves until SIGTERM; prints the address when the small network is ready."""
    folder, seconds = Path(sys.argv[1]), int(sys.argv[2])
    watch_connections(folder / "connections")
    import app
    from pipeline.core.recipes import MINI, PACKAGED
    from pipeline.galleries.galleries import Galleries
    from pipeline.galleries.gallery import open_gallery
    from pipeline.galleries.preparation import Preparation
    from pipeline.page.server.machine import keep_giving_back, share_freed_memory, spare_cores
    from pipeline.page.server.stopping import StopSignal

    spare_cores()
    share_freed_memory()
    keep_giving_back()
    stopping = StopSignal()
    preparation = Preparation(open_gallery(Settings(dataset="sample", index=folder / "index", cache=folder / "cache")))
    preparation.start(PACKAGED)
    preparation.wait()
    assert MINI in preparation.ready(), preparation.status(MINI)
    galleries = Galleries(preparation)
    options = {"prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"}
    page = app.launch(galleries, seconds, mcp=find_spec("mcp") is not None, **options)
    sys.stdout.write(f"{page.local_url}\n")
    sys.stdout.flush()
    stopping.wait()
    app.stop(page, galleries)


if __name__ == "__main__":
    main()
