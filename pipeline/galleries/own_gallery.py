"""One gallery of a visitor's own photos: a folder with `photos` and `index`, that photos come to and go from."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.core.errors import Busy, PhotosError, PipelineError, SettingsError, Stopped, StorageError, UnderWay
from pipeline.core.folders import make_folder, make_private, make_private_folder, move_folder, remove_folder
from pipeline.core.progress import Progress
from pipeline.core.recipes import OF_FACES, UNASKED
from pipeline.core.settings import EMBEDDED
from pipeline.encoder.encoder import Encoders
from pipeline.galleries.known_people import KnownPeople
from pipeline.galleries.own_faces import OwnFaces
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.task import Task
from pipeline.galleries.uploads import Taken, take
from pipeline.indexes.registry import close_index

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
REMOVED = "Your photos were removed; drop them again to search in them."
BUSY = "Your photos are still being indexed; wait for that, or cancel it."
INDEXING = "Your photos are still being indexed; ask again in a while."  # to programs, which cannot cancel it
FULL = "The photos of other visitors are being indexed; drop yours again in a while."
TAKING = threading.BoundedSemaphore(16)  # drops that are taken in at the same time, each by a thread
NO_FACES = "No face was found in these photos; drop photos in which faces are at least 20 pixels wide."


@dataclass(frozen=True)
class Told:
    """What came of the last drop."""

    taken: Taken
    photos: int
    faces: int
    faceless: int


class OwnGallery(Task):
    """One visitor's photos. One thing is done at a time; what is there stays searchable meanwhile."""

    def __init__(self, folder: Path, encoders: Encoders, pictures: Path, *, kept: bool = False) -> None:
        """`folder` is the gallery's own, and need not exist yet; `pictures` is that of all visitors' pictures."""
        super().__init__("own photos")
        self.folder = folder
        self._pictures = pictures
        self.kept = kept
        self.preparation: Preparation | None = None  # None until there is something to search
        self.problem = ""
        self.told: Told | None = None
        self.removed = False  # or being removed: nothing is begun with it any more
        self._encoders = encoders
        self._coming: Preparation | None = None
        self._progress: Progress | None = None
        self._lock = threading.RLock()  # of whatever moves or deletes the folder

    @property
    def name(self) -> str:
        """What answers call the gallery."""
        return self.folder.name

    @property
    def busy(self) -> bool:
        """Whether anything is under way, models that follow behind included."""
        return self.working or (self.preparation is not None and self.preparation.working)

    @property
    def progress(self) -> Progress | None:
        """How far the task is."""
        coming = self._coming.under_way() if self._coming else {}
        return next(iter(coming.values()), self._progress)

    @property
    def people(self) -> KnownPeople | None:
        """Who is in the photos; None until they are told apart, or where they cannot be."""
        return self.preparation.people if self.preparation else None

    @property
    def photo_ids(self) -> tuple[str, ...]:
        """The photos that can be searched in."""
        return self.preparation.gallery.photos.photo_ids if self.preparation and self.preparation.ready() else ()

    def add(self, dropped: Sequence[Path], done: Callable[[], None], names: Sequence[str] = ()) -> None:
        """Starts taking in what was dropped, see `uploads.take`; `done` is called when those files are needed no more.

        Busy where too many visitors' photos are being taken in, SettingsError while something is under way here.
        """
        if not TAKING.acquire(blocking=False):
            raise Busy(FULL)

        def all_done() -> None:
            TAKING.release()
            done()

        try:
            self._begin(partial(self._add, tuple(dropped), tuple(names)), all_done)
        except SettingsError:
            TAKING.release()
            raise

    def discard(self, photo_ids: Sequence[str]) -> None:
        """Deletes photos, and starts making the gallery anew without them; without any, it is removed.

        SettingsError while something is under way. Nothing can be searched until that is done, which takes seconds.
        """
        with self._lock:
            wanted = set(photo_ids) & set(self.photo_ids)
            if self.working:
                raise UnderWay(BUSY)
            if not wanted:
                raise SettingsError("No photo was chosen; choose which to remove.")
            if len(wanted) == len(self.photo_ids):
                self.delete()
                return
            if self.preparation:
                self.preparation.stop()
                for photo_id in wanted:
                    (self.folder / "photos" / photo_id).unlink(missing_ok=True)
                self.preparation.gallery.pictures.remove(wanted)
            if self.people:
                self.people.forget(wanted)
            self.told = None
            self.resume()

    def resume(self) -> None:
        """Opens what is there already."""
        make_private_folder(self._pictures / self.name)
        self.preparation = self._new_preparation()
        self._begin(self._reindex, lambda: None)

    def cancel(self) -> None:
        """Ends the task under way and undoes it; returns when that is done."""
        self.stop()

    def end(self) -> None:
        """Ends the task under way and what is being prepared beyond it."""
        self.cancel()
        if self.preparation:
            self.preparation.stop()

    def delete(self) -> None:
        """Ends everything and deletes the folder, whoever is still searching; StorageError if anything is left."""
        self.removed = True
        with self._lock:
            self._close()
            self.preparation, self.told = None, None
            remove_folder(self._pictures / self.name)
            remove_folder(self.folder)

    @property
    def lost(self) -> bool:
        """Whether the folder was deleted by another process."""
        if not self._lock.acquire(blocking=False):  # it is being moved, and is nowhere
            return False
        try:
            return self.preparation is not None and not self.folder.is_dir()
        finally:
            self._lock.release()

    def move(self, folder: Path, *, kept: bool) -> None:
        """Moves the gallery, whole or not at all. SettingsError while something is under way."""
        with self._lock:
            if self.working:
                raise UnderWay(BUSY)
            if self.preparation is None:
                self.folder, self.kept = folder, kept
                return
            self._close()
            try:
                make_private_folder(folder.parent)
                move_folder(self.folder, folder)
                self.folder, self.kept = folder, kept
            except OSError as error:
                raise PhotosError(f"Your photos cannot be moved to {folder.parent}; make room there.") from error
            finally:
                self.resume()

    def _close(self) -> None:
        """Ends everything, and closes the files that indexes have open; a search in what is open opens them again."""
        self.end()
        preparation = self.preparation
        for searcher in [preparation.searcher(recipe) for recipe in preparation.ready()] if preparation else []:
            for name in searcher.indexes:
                close_index(name, searcher.embeddings.folder, searcher.embeddings.collection(EMBEDDED))

    def _begin(self, task: Callable[[], None], done: Callable[[], None]) -> None:
        with self._lock:
            if self.removed:
                raise SettingsError(REMOVED)
            if not self._start(partial(self._run, task, done), self._forget):
                raise UnderWay(BUSY)

    def _forget(self) -> None:
        self.problem, self._progress = "", None

    def _run(self, task: Callable[[], None], done: Callable[[], None]) -> None:
        try:
            task()
        except Stopped:
            log.info("Taking in a visitor's photos was cancelled.")
        except PipelineError as error:
            self.problem = str(error)
        except Exception:
            log.exception("taking in a visitor's photos failed")
            self.problem = "Taking in your photos failed unexpectedly; see the log, then try again."
        finally:
            self._coming = None
            self._tidy()
            done()

    def _tidy(self) -> None:
        shutil.rmtree(self.folder / "incoming", ignore_errors=True)
        make_private(self.folder)  # what others write, Milvus or a former version, is as the umask has it
        if self.preparation is None:
            try:
                remove_folder(self._pictures / self.name)
                remove_folder(self.folder)
            except StorageError as error:
                log.warning("%s", error)
                self.problem = str(error)

    def _add(self, dropped: Sequence[Path], names: Sequence[str]) -> None:
        incoming, photos = self.folder / "incoming", self.folder / "photos"
        for folder in (self.folder.parent, self.folder, self._pictures / self.name):
            make_private_folder(folder)  # nothing else makes it: see `core.folders`
        make_folder(photos)
        taken = take(dropped, incoming, photos, self._report, names)
        if self.preparation:
            self.preparation.stop()
        placed: list[Path] = []
        try:
            for name in taken.photos:
                make_folder((photos / name).parent)
                placed.append((incoming / name).rename(photos / name))
            preparation = self._new_preparation()
            self._serve(preparation)
        except PipelineError:
            self._undo(placed)
            raise
        self.preparation = preparation
        self.told = _told(taken, preparation)

    def _undo(self, placed: Sequence[Path]) -> None:
        """The folder without these photos, and without what was begun with them."""
        for path in placed:
            path.unlink(missing_ok=True)
        for parts in self.folder.glob("index/*/*/parts-*"):
            shutil.rmtree(parts, ignore_errors=True)
        if self.preparation:
            self.preparation.start(())

    def _reindex(self) -> None:
        if self.preparation:
            self._serve(self.preparation)

    def _serve(self, preparation: Preparation) -> None:
        """Returns when the best model that needs no download can search; the others follow behind."""
        here = [name for name in OF_FACES if self._encoders.on_disk(name)]
        if not here:
            raise PhotosError("There is no model here to find faces with; wait until one is ready, then try again.")
        self._coming = preparation
        preparation.start(here[:1])
        while preparation.working:
            preparation.wait(POLL_SECONDS)
            if self._stopping.is_set():
                preparation.stop()
                raise Stopped("Cancelled.")
        if not preparation.ready():
            status = preparation.status(here[0])
            raise PhotosError(preparation.problem or status.reason)
        if not len(preparation.searcher(here[0]).embeddings):
            raise PhotosError(NO_FACES)
        self._progress = None
        preparation.start(name for name in OF_FACES if name in UNASKED)

    def _new_preparation(self) -> Preparation:
        # Drawing maps cannot be cancelled, and many a visitor never looks at one.
        return Preparation(OwnFaces(self.folder, self._encoders, self._pictures), maps=False)

    def _report(self, progress: Progress) -> None:
        if self._stopping.is_set():
            raise Stopped("Cancelled.")
        self._progress = progress


def _told(taken: Taken, preparation: Preparation) -> Told:
    gallery = preparation.searcher(preparation.ready()[0]).embeddings
    counts = gallery.manifest["counts"]
    return Told(taken, counts["photos"], len(gallery), counts["no_face"])
