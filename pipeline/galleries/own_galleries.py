"""Galleries of a visitor's own photos: every face in them, for nobody but that visitor.

A gallery's key is its only protection, so it is long and drawn at random; the folder's name is made of the key and does
not give it away. A browser that holds the key finds the gallery again.

Photos lie in a temporary folder. They go when nothing was asked of them for a while, which an open page does every
minute, with the server, or when asked to; a server that was killed leaves them to the next one to clear away. Kept
ones lie below the index until they are removed.
"""

from __future__ import annotations

import atexit
import hashlib
import hmac
import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError, SettingsError
from pipeline.core.folders import (
    PERSONAL,
    make_private_folder,
    remove_folder,
    remove_leftovers,
    remove_temporary,
    temporary_folder,
)
from pipeline.encoder.encoder import Encoders
from pipeline.galleries.own_gallery import OwnGallery

log = logging.getLogger(__name__)

KEPT = "own"  # the folder in the index
PREFIX = "own-"
TEMPORARY = "reverse-face-search-own-"
SECRET = secrets.token_bytes()  # of this process
GRACE_SECONDS = 600.0  # a page that is loaded again, or a phone that was asleep, is back by then


class OwnGalleries:
    """The visitors' galleries by key."""

    def __init__(self, encoders: Encoders, kept: Path, grace: float = GRACE_SECONDS) -> None:
        """`kept` is the folder for galleries that are to be kept.

        `grace` is for how many seconds the others live on after they were last asked for.
        """
        self.grace = grace
        self._encoders = encoders
        self._kept = kept
        self._root: Path | None = None
        self._open: dict[str, OwnGallery] = {}
        self._asked: dict[str, float] = {}  # when each was last asked for, by a clock that nobody sets
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def start(self) -> None:
        """Called when a page starts: kept photos are made private, and what was being deleted goes."""
        if self._kept.is_dir():
            make_private_folder(self._kept)
            remove_leftovers(self._kept, PREFIX)

    def create(self) -> tuple[str, OwnGallery]:
        """A new gallery, still without photos, and its key."""
        key = PREFIX + secrets.token_urlsafe(24)
        gallery = OwnGallery(self._temporary() / folder_name(key), self._encoders, self.pictures)
        with self._lock:
            self._open[key], self._asked[key] = gallery, time.monotonic()
        return key, gallery

    def find(self, key: str) -> OwnGallery | None:
        """The gallery of this key, opened if it was kept by an earlier server; None if there is none.

        Whoever asks keeps it alive: every event of a page that has the key comes through here.
        """
        if not key.startswith(PREFIX):
            return None
        with self._lock:
            folder = self._kept / folder_name(key)
            if key not in self._open and folder.is_dir():
                self._open[key] = OwnGallery(folder, self._encoders, self.pictures, kept=True)
                self._open[key].resume()
            gallery = self._open.get(key)
            if gallery is None or gallery.removed:
                return None
            self._asked[key] = time.monotonic()
        if gallery.lost:
            self._remove(key, gallery)
            return None
        return gallery

    def named(self, name: str) -> OwnGallery | None:
        """The open gallery that answers name so; its name is no key, and is for the server's own use."""
        with self._lock:
            return next(
                (one for one in self._open.values() if one.name == name and not (one.removed or one.lost)), None
            )

    @property
    def names(self) -> list[str]:
        """What the open galleries' answers call them."""
        with self._lock:
            return [one.name for one in self._open.values()]

    @property
    def pictures(self) -> Path:
        """The folder of all these galleries' pictures, one for each of them in it; it goes with this server."""
        return self._temporary() / "pictures"

    def keep(self, key: str, *, kept: bool) -> None:
        """Moves the gallery to where it outlives this server, or back."""
        gallery = self.find(key)
        if gallery is not None and gallery.kept != kept:
            root = self._kept if kept else self._temporary()
            gallery.move(root / folder_name(key), kept=kept)

    def remove(self, key: str) -> None:
        """Ends whatever is being done with the gallery and deletes all of it; from now on nobody finds it."""
        gallery = self.find(key)
        if gallery is not None:
            self._remove(key, gallery)

    def close(self) -> None:
        """Ends everything and deletes what is not to be kept: the server stops."""
        self._closing.set()
        for gallery in list(self._open.values()):
            gallery.removed |= not gallery.kept
            gallery.end()
        root, self._root = self._root, None
        if root is not None:
            try:
                remove_temporary(root)
            except PipelineError as error:
                log.warning("%s", error)

    def _remove(self, key: str, gallery: OwnGallery) -> None:
        try:
            gallery.delete()
        finally:
            with self._lock:
                self._open.pop(key, None)
                self._asked.pop(key, None)

    def _expire(self) -> None:
        """Removes what nobody asked for in time, until the server stops."""
        while not self._closing.wait(self.grace / 10):
            with self._lock:
                late = time.monotonic() - self.grace
                forgotten = {key: one for key, one in self._open.items() if self._asked.get(key, 0) < late}
                forgotten = {key: one for key, one in forgotten.items() if one.removed or one.lost or not one.kept}
                for gallery in forgotten.values():
                    gallery.removed = True  # before anybody can ask for it again
            for key, gallery in forgotten.items():
                try:
                    self._remove(key, gallery)
                except PipelineError as error:
                    log.warning("%s", error)

    def _temporary(self) -> Path:
        """This server's temporary folder, made at first use."""
        with self._lock:
            if self._root is None:
                self._root = temporary_folder(Path(tempfile.gettempdir()), TEMPORARY)
                self._closing.clear()
                atexit.register(self.close)
                threading.Thread(target=self._expire, name="own photos expire", daemon=True).start()
            return self._root


def folder_name(key: str) -> str:
    """The name of the folder of this key's gallery."""
    return PREFIX + hashlib.sha256(key.encode()).hexdigest()[:32]


def picture_token(gallery: str) -> str:
    """What stands for the gallery in its pictures' addresses: its name, as far as everybody may know that.

    That of a visitor's own is in what the visitor downloads, and passes on; nobody can tell its token from that.
    """
    return hmac.new(SECRET, gallery.encode(), "sha256").hexdigest() if PERSONAL.fullmatch(gallery) else gallery


@dataclass(frozen=True)
class Kept:
    """A gallery that is kept on this disk: its folder's name, what it holds, and when photos last came or went."""

    name: str
    photos: int
    bytes: int
    changed: float


def kept_galleries(root: Path) -> list[Kept]:
    """The galleries that are kept in a folder, the latest first; no browser need have their keys any more."""
    found = [_described(folder) for folder in root.glob(f"{PREFIX}*") if PERSONAL.fullmatch(folder.name)]
    return sorted(found, key=lambda kept: (-kept.changed, kept.name))


def remove_kept(root: Path, wanted: Sequence[str]) -> None:
    """Deletes kept galleries, given by name or by key, also where a page has them open; none if one is not there."""
    folders = [root / (name if PERSONAL.fullmatch(name) else folder_name(name)) for name in wanted]
    for name, folder in zip(wanted, folders, strict=True):
        if not folder.is_dir():
            raise SettingsError(f"No photos are kept as {name!r}; `python -m pipeline own list` names those that are.")
    for folder in folders:
        remove_folder(folder)
    remove_leftovers(root, PREFIX)


def _described(folder: Path) -> Kept:
    files = [path for path in folder.rglob("*") if path.is_file()]
    photos = [path for path in files if path.is_relative_to(folder / "photos")]
    times = [path.stat().st_mtime for path in (folder, folder / "photos") if path.exists()]
    return Kept(folder.name, len(photos), sum(path.stat().st_size for path in files), max(times))
