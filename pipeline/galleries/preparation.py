"""Getting everything ready behind a page that is open already: photos, weights, galleries, one thread for all.

What can be searched at once is opened first. Then the best recipe is built alone, so that the first search comes soon,
and after it all the others in a single pass. Maps, which nobody waits for, are drawn last.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from PIL import Image

from pipeline.core.errors import GalleryError, GalleryTooSmall, PhotosError, PipelineError, SettingsError, Stopped
from pipeline.core.progress import Progress, silent
from pipeline.core.recipes import RECIPES
from pipeline.embeddings.map import open_map
from pipeline.galleries.ask import choice
from pipeline.galleries.gallery import Gallery, all_recipes
from pipeline.galleries.task import Task
from pipeline.search.searcher import Searcher

log = logging.getLogger(__name__)

DISK_FULL = "The disk of this server is full; free some space, then try again."
UNFORESEEN = "Preparing the galleries failed unexpectedly; see the log, then try again."

State = Literal["waiting", "preparing", "ready", "unavailable"]


@dataclass(frozen=True)
class Status:
    """Where a recipe stands. `reason` says why it is unavailable; `progress` how far its preparation is."""

    state: State
    reason: str = ""
    progress: Progress | None = None
    custom_weights: bool = False


class Preparation(Task):
    """Prepares a gallery's recipes, and tells how far it is; stopped within a batch of photos, what is ready stays."""

    def __init__(self, gallery: Gallery, *, maps: bool = True) -> None:
        """With `maps` the galleries' maps are drawn at the end; else each when it is first looked at."""
        super().__init__("prepare")
        self.gallery = gallery
        self._maps = maps
        self._statuses = dict.fromkeys(RECIPES, Status("waiting"))
        self._problem = ""

    def start(self, recipes: Sequence[str] = tuple(RECIPES)) -> None:
        """Starts preparing these, unless it is under way. Called again, it retries what was unavailable."""

        def forget() -> None:
            self._problem = ""
            for name, status in self._statuses.items():
                if status.state == "unavailable":
                    self._statuses[name] = Status("waiting")

        self._start(partial(self._run, recipes), forget)

    @property
    def problem(self) -> str:
        """One sentence if there are no photos to search in, else empty."""
        return self._problem

    def status(self, recipe: str) -> Status:
        """Where the recipe stands."""
        return self._statuses[recipe]

    def under_way(self) -> dict[str, Progress]:
        """How far each recipe is that is being prepared now."""
        return {name: status.progress for name, status in self._statuses.items() if status.progress is not None}

    def missing(self) -> dict[str, str]:
        """Why each recipe that should be there is not.

        None with a last layer is among them: a head may never have been trained, and a gallery be too small for a PCA.
        """
        unavailable = [(name, status) for name, status in self._statuses.items() if status.state == "unavailable"]
        return {name: status.reason for name, status in unavailable if not RECIPES[name].layer}

    def ready(self) -> list[str]:
        """The recipes that can be searched with now, the default first."""
        return [name for name in all_recipes() if self._statuses[name].state == "ready"]

    def recipe(self, asked: object) -> str:
        """The recipe asked for, or where none is the best that is ready; SettingsError if there is no such one."""
        if asked not in ("", None):
            return choice(asked, RECIPES, "recipe")
        if not (ready := self.ready()):
            raise SettingsError(self._problem or "The gallery is not ready yet; ask again in a while.")
        return ready[0]

    def searcher(self, asked: object) -> Searcher:
        """The searcher of the recipe as `recipe` has it; GalleryError says why it cannot be searched yet."""
        recipe = self.recipe(asked)
        if recipe not in self.gallery.offered:
            raise GalleryError(f"{RECIPES[recipe].label} is not offered for this gallery; choose another model.")
        status = self._statuses[recipe]
        if status.state == "unavailable":
            raise GalleryError(f"{RECIPES[recipe].label} cannot be used here: {status.reason}")
        if status.state != "ready":
            raise GalleryError(
                f"{RECIPES[recipe].label} is still being prepared; wait for it or choose another model meanwhile."
            )
        return self.gallery.searcher(recipe)

    def searchers(self) -> list[Searcher]:
        """Those of all recipes that can be searched with now."""
        ready = self.ready()
        return [self.searcher(name) for name in RECIPES if name in ready]

    def fingerprint(self) -> str:
        """That of the best recipe's gallery that is ready, as its manifest has it; empty if none is."""
        ready = self.ready()
        return str(self.gallery.searcher(ready[0]).embeddings.manifest["fingerprint"]) if ready else ""

    def _run(self, recipes: Sequence[str]) -> None:
        try:
            waiting = [name for name in all_recipes() if name in recipes and self._statuses[name].state != "ready"]
            self.gallery.open_photos(partial(self._preparing, waiting))
            waiting = [name for name in waiting if self._available(name)]
            waiting = [name for name in waiting if not self._open(name)]
            if waiting and not self.ready():
                self._build([waiting.pop(0)])
            if waiting:
                self._build(waiting)
            if self._maps:
                self._draw_maps()
        except PipelineError as error:
            self._give_up(str(error))
            if isinstance(error, PhotosError) and not self.ready():
                self.gallery.forget_photos()  # the next try is with those that are there then
        except Exception as error:
            log.exception("preparing the galleries failed")
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            self._give_up(DISK_FULL if full else UNFORESEEN)

    def _available(self, name: str) -> bool:
        reason = self.gallery.why_unavailable(name)
        if reason is not None:
            self._statuses[name] = Status("unavailable", reason)
        return reason is None

    def _open(self, name: str) -> bool:
        """Opens a gallery that is built already; its weights are downloaded if they are gone."""
        if not (self.gallery.folder(name) / "manifest.json").is_file():
            return False
        try:
            self.gallery.encoders.get(name, partial(self._preparing, [name]))
            self._set_ready(name)
        except GalleryError:
            return False
        except PipelineError as error:
            self._statuses[name] = Status("unavailable", str(error))
        return True

    def _build(self, names: Sequence[str]) -> None:
        """Builds these together; one whose weights fail is left out, the others go on."""
        usable = []
        for name in names:
            try:
                self.gallery.encoders.get(name, partial(self._preparing, [name]))
                usable.append(name)
            except PipelineError as error:
                self._statuses[name] = Status("unavailable", str(error))
        try:
            if usable:
                self.gallery.build(usable, partial(self._preparing, usable))
        except GalleryTooSmall as error:  # all the others are built by then
            for name in [name for name in usable if RECIPES[name].layer == "pca"]:
                self._statuses[name] = Status("unavailable", str(error))
                usable.remove(name)
        for name in usable:
            self._set_ready(name)

    def _draw_maps(self) -> None:
        for name in self.ready():
            if not self._stopping.is_set():
                open_map(self.gallery.searcher(name).embeddings)

    def _set_ready(self, name: str) -> None:
        self._warm_up(self.gallery.searcher(name))
        custom = self.gallery.encoders.get(name, silent).weights.custom
        self._statuses[name] = Status("ready", custom_weights=custom)

    def _warm_up(self, searcher: Searcher) -> None:
        # The first run of a network costs several times the others (memory, kernels chosen); not the visitor's.
        if len(searcher.embeddings):
            searcher.search(Image.new("RGB", (250, 250), "grey"), k=1, choose=None)

    def _preparing(self, names: Sequence[str], progress: Progress) -> None:
        if self._stopping.is_set():
            raise Stopped("Preparing was stopped; start it again.")
        for name in names:
            self._statuses[name] = Status("preparing", progress=progress)

    def _give_up(self, reason: str) -> None:
        self._problem = "" if self.ready() else reason
        for name, status in self._statuses.items():
            if status.state not in ("ready", "unavailable"):
                self._statuses[name] = Status("unavailable", reason)
