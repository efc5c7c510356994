"""Work in a thread that can be waited for, and asked to end."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Task:
    """Does one thing at a time, each in a thread."""

    def __init__(self, name: str) -> None:
        """`name` is the thread's."""
        self._name = name
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._starting = threading.Lock()

    @property
    def working(self) -> bool:
        """Whether something is under way."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Returns when what is under way is done."""
        if self._thread is not None:
            self._thread.join(seconds)

    def stop(self) -> None:
        """Asks what is under way to end, and returns when it has."""
        self._stopping.set()
        self.wait()

    def _start(self, work: Callable[[], None], first: Callable[[], None] = lambda: None) -> bool:
        """Does `first`, and starts `work`; neither, and False, while something is under way."""
        with self._starting:
            if self.working:
                return False
            self._stopping.clear()
            first()
            self._thread = threading.Thread(target=work, name=self._name, daemon=True)
            self._thread.start()
            return True
