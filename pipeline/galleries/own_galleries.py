"""Galleries of a visitor's own photos: every face in them, for nobody but that visitor.

A gallery's key is its only protection, so it is long and drawn at random; the folder's name is made of the key and does
not give it away. A browser that holds the key finds the gallery again. Pictures of the gallery are served by paths that
contain the folder's name, which nobody can guess either and only that visitor's page is told.

Photos lie in a temporary folder, and go with the page that was closed, with the server, or when asked to; a server
that was killed leaves them to the next one to clear away. Kept ones lie below the index until they are removed.
"""

from __future__ import annotations

import atexit
import hashlib
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.encoder.encoder import Encoders
from pipeline.galleries.own_gallery import OwnGallery

PREFIX = "own-"
TEMPORARY = "reverse-face-search-own-"
GRACE_SECONDS = 600.0  # a page that is loaded again, or a phone that was asleep, is back by then


class OwnGalleries:
    """The visitors' galleries by key."""

    def __init__(self, encoders: Encoders, kept: Path, grace: float = GRACE_SECONDS) -> None:
        """`kept` is the folder for galleries that are to be kept; `grace` the seconds that a closed page's live on."""
        self._encoders = encoders
        self._kept = kept
        self._grace = grace
        self._root: Path | None = None
        self._open: dict[str, OwnGallery] = {}
        self._holders: dict[str, set[str]] = {}
        self._lock = threading.RLock()

    def create(self) -> tuple[str, OwnGallery]:
        """A new gallery, still without photos, and its key."""
        key = PREFIX + secrets.token_urlsafe(24)
        gallery = OwnGallery(self._temporary() / _folder_name(key), self._encoders)
        with self._lock:
            self._open[key] = gallery
        return key, gallery

    def find(self, key: str) -> OwnGallery | None:
        """The gallery of this key, opened if it was kept by an earlier server; None if there is none."""
        if not key.startswith(PREFIX):
            return None
        with self._lock:
            folder = self._kept / _folder_name(key)
            if key not in self._open and folder.is_dir():
                self._open[key] = OwnGallery(folder, self._encoders, kept=True)
                self._open[key].resume()
            return self._open.get(key)

    def named(self, name: str) -> OwnGallery | None:
        """The open gallery that answers name so; its name is no key, and is for the server's own use."""
        with self._lock:
            return next((gallery for gallery in self._open.values() if gallery.name == name), None)

    def holds(self, path: Path) -> bool:
        """Whether a file is a picture of one of these galleries."""
        roots = [self._kept.resolve(), *([self._root.resolve()] if self._root else [])]
        return any(path.resolve().is_relative_to(root) for root in roots)

    def keep(self, key: str, *, kept: bool) -> None:
        """Moves the gallery to where it outlives this server, or back."""
        gallery = self.find(key)
        if gallery is not None and gallery.kept != kept:
            root = self._kept if kept else self._temporary()
            gallery.move(root / _folder_name(key), kept=kept)

    def remove(self, key: str) -> None:
        """Ends whatever is being done with the gallery and deletes all of it."""
        gallery = self.find(key)
        if gallery is not None:
            gallery.delete()
            with self._lock:
                self._open.pop(key, None)
                self._holders.pop(key, None)

    def enter(self, key: str, page: str) -> None:
        """A page with this gallery was opened."""
        with self._lock:
            self._holders.setdefault(key, set()).add(page)

    def leave(self, page: str) -> None:
        """A page was closed: what no other page has is deleted after a while, unless it is to be kept."""
        with self._lock:
            left = [key for key, pages in self._holders.items() if page in pages]
            for key in left:
                self._holders[key].discard(page)
                timer = threading.Timer(self._grace, self._expire, [key])
                timer.daemon = True
                timer.start()

    def close(self) -> None:
        """Ends everything and deletes what is not to be kept: the server stops."""
        for gallery in list(self._open.values()):
            gallery.end()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    def _expire(self, key: str) -> None:
        gallery = self.find(key)
        with self._lock:
            held = bool(self._holders.get(key))
        if gallery is not None and not gallery.kept and not held:
            self.remove(key)

    def _temporary(self) -> Path:
        """This server's temporary folder, made at first use; those of servers that were killed are cleared away."""
        with self._lock:
            if self._root is None:
                for left in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
                    _clear_if_left(left)
                self._root = Path(tempfile.mkdtemp(prefix=TEMPORARY))  # readable for this user alone
                lock = FileLock(self._root / ".lock")
                lock.acquire()  # until the process ends, however it ends
                self._alive = lock
                atexit.register(self.close)
            return self._root


def _folder_name(key: str) -> str:
    return PREFIX + hashlib.sha256(key.encode()).hexdigest()[:32]


def _clear_if_left(folder: Path) -> None:
    # Younger than a second it is just being made; from the future it is of before the clock was set back.
    if not (folder / ".lock").is_file() or 0 <= time.time() - folder.stat().st_mtime < 1:
        return
    try:
        with FileLock(folder / ".lock", timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):  # alive, or another user's
        return
