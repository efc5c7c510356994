"""The galleries one page has: the one it was started for, and until that is there the sample that comes along.

The sample and the network it is searched with need no download, so there is something to search within seconds, even
where no host can be reached. What the sample can be searched with besides is prepared last.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import NotReady, SettingsError, Unknown
from pipeline.core.recipes import PACKAGED, UNASKED
from pipeline.core.settings import SAMPLE, VERSION, Settings
from pipeline.embeddings.store import MANIFEST
from pipeline.galleries.ask import choice
from pipeline.galleries.gallery import Gallery, open_gallery
from pipeline.galleries.own_galleries import KEPT, OwnGalleries
from pipeline.galleries.own_gallery import INDEXING, OwnGallery
from pipeline.galleries.preparation import Preparation
from pipeline.galleries.task import Task

log = logging.getLogger(__name__)

MAIN = "main"
EMPTY = "There are no photos in this gallery of your own; send some."


class Galleries(Task):
    """The page's galleries by key, each with the thread that prepares it."""

    def __init__(self, main: Preparation, sample: Preparation | None = None, own: OwnGalleries | None = None) -> None:
        """`main` is what the page is for; `sample` is served while that is not ready yet.

        `own` are visitors' own: to be had by their key, but listed nowhere. None where there are to be none.
        """
        super().__init__("galleries")
        self.own = own
        self._by_key = {MAIN: main} | ({SAMPLE.name: sample} if sample else {})

    @property
    def main(self) -> Preparation:
        """The gallery the page was started for."""
        return self._by_key[MAIN]

    @property
    def keys(self) -> tuple[str, ...]:
        """The galleries' keys, the page's own first."""
        return tuple(self._by_key)

    def get(self, key: object) -> Preparation:
        """The gallery of this key, or where it is empty of the first that is ready; Unknown if there is none.

        NotReady for a visitor's own while its first photos are indexed.
        """
        if own := self._own(key):
            working = own.working  # asked first: what comes after it cannot be older
            if own.preparation:
                return own.preparation
            raise NotReady(INDEXING) if working else Unknown(own.problem or EMPTY)
        try:
            return self._by_key[choice(self.first() if key in ("", None) else key, self._by_key, "gallery")]
        except SettingsError as error:
            raise Unknown(str(error)) from error

    def named(self, name: str) -> Preparation:
        """The gallery that answers name so (`Answer.gallery`); Unknown if there is none any more."""
        for preparation in self._by_key.values():
            if preparation.ready() and preparation.gallery.photos.name == name:
                return preparation
        own = self.own.named(name) if self.own else None
        if own and own.preparation:
            return own.preparation
        raise Unknown(f"The gallery {name} is not here any more; search again.")

    def ready(self) -> tuple[str, ...]:
        """The keys of those that can be searched now."""
        return tuple(key for key, preparation in self._by_key.items() if preparation.ready())

    def is_ready(self, key: str) -> bool:
        """Whether the gallery of this key, a visitor's own included, is there and can be searched now."""
        return self.has(key) and bool(self.get(key).ready())

    def has(self, key: str) -> bool:
        """Whether `get` has a gallery of this key, a visitor's own included."""
        own = self._own(key)
        return key in self._by_key or (own is not None and own.preparation is not None)

    def _own(self, key: object) -> OwnGallery | None:
        return self.own.find(key) if self.own and isinstance(key, str) else None

    def is_picture(self, path: Path) -> bool:
        """Whether a file is a picture of one of the galleries, not what a visitor sent."""
        return any(path.resolve().is_relative_to(root) for root in self.picture_roots)

    @property
    def picture_roots(self) -> list[Path]:
        """The folders of all pictures, and of nothing else."""
        roots = [self.main.gallery.thumbnails_root, *([self.own.pictures] if self.own else [])]
        return [root.resolve() for root in roots]

    def first(self) -> str:
        """The key of the one to search if none is asked for: the page's own once it is ready."""
        return next(iter(self.ready()), MAIN)

    def start(self) -> None:
        """Starts preparing; while it is under way, does nothing. Called again, it retries what was unavailable."""
        self._start(self._run)

    @property
    def working(self) -> bool:
        """Whether something is being prepared."""
        return super().working or any(preparation.working for preparation in self._by_key.values())

    def health(self) -> dict[str, Any]:
        """Whether there can be answers: `ok`, `degraded`, `preparing` or `unavailable`; by gallery what is ready.

        `building` is how far what is being prepared is, `degraded` why what should be there is not, each by gallery and
        recipe; a head that was never trained is nothing that should be there. `problem` is why there are no photos.
        """
        ready: Mapping[str, list[str]] = {key: self._by_key[key].ready() for key in self.ready()}
        under_way = {key: preparation.under_way() for key, preparation in self._by_key.items()}
        building = {
            key: {name: {"done": one.done, "of": one.total, "unit": one.unit} for name, one in coming.items()}
            for key, coming in under_way.items()
            if coming
        }
        degraded = {key: missing for key, preparation in self._by_key.items() if (missing := preparation.missing())}
        answering = "degraded" if degraded else "ok"
        return {
            "status": answering if ready else "preparing" if self.working else "unavailable",
            "version": VERSION,
            "ready": ready,
            "building": building,
            "degraded": degraded,
            "problem": self.main.problem,
        }

    def _run(self) -> None:
        sample = self._by_key.get(SAMPLE.name)
        if sample:
            _prepare(sample, PACKAGED)
        _prepare(self.main)
        if self.main.problem:
            log.warning("%s", self.main.problem)
        if sample:
            _prepare(sample)


def _prepare(preparation: Preparation, recipes: Iterable[str] = UNASKED) -> None:
    preparation.wait()  # for what a visitor has chosen before: it would be all that is prepared
    preparation.start(recipes)
    preparation.wait()


def _clear_served_vectors(thumbnails: Path) -> None:
    """Deletes what versions up to 0.9 built of a dataset called as the folder of pictures, which the page serves."""
    for manifest in thumbnails.glob(f"*/{MANIFEST}"):
        log.warning("%s could be fetched from the page; it is deleted, and built elsewhere.", manifest.parent)
        shutil.rmtree(manifest.parent, ignore_errors=True)


def open_galleries(settings: Settings) -> Galleries:
    """The galleries that the environment describes. Loads nothing yet."""
    gallery = open_gallery(settings)
    _clear_served_vectors(gallery.thumbnails_root)
    own = OwnGalleries(gallery.encoders, settings.index / KEPT) if settings.own_photos else None
    if settings.dataset == SAMPLE.name:
        return Galleries(Preparation(gallery, on_demand=settings.on_demand), own=own)
    sample = Gallery(SAMPLE.name, gallery.encoders, settings.index, settings.milvus, settings.cache)
    main, extra = (Preparation(each, on_demand=settings.on_demand) for each in (gallery, sample))
    return Galleries(main, extra, own)
