"""Getting everything ready behind a page that is open already: photos, weights, galleries, one thread for all.

What can be searched at once is opened first. Then those of `UNASKED` are built one by one, the best first, so that the
first search comes soon; any other is built when somebody chooses it. People are told apart once the best network that
can is ready, before others are built; maps are drawn in the end.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Literal

from PIL import Image

from pipeline.core.errors import GalleryError, GalleryTooSmall, NotReady, PhotosError, PipelineError, Stopped
from pipeline.core.progress import Progress, silent
from pipeline.core.recipes import IN_ORDER, RECIPES, STAND_INS, UNASKED
from pipeline.embeddings.map import open_map
from pipeline.embeddings.store import MANIFEST
from pipeline.galleries.ask import choice
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.known_people import KnownPeople, found_people
from pipeline.galleries.task import Task
from pipeline.search.searcher import Searcher

log = logging.getLogger(__name__)

DISK_FULL = "The disk of this server is full; free some space, then try again."
UNFORESEEN = "Preparing the galleries failed unexpectedly; see the log, then try again."

State = Literal["unasked", "waiting", "preparing", "ready", "unavailable"]


@dataclass(frozen=True)
class Status:
    """Where a recipe stands. `reason` says why it is unavailable; `progress` how far its preparation is."""

    state: State
    reason: str = ""
    progress: Progress | None = None
    custom_weights: bool = False


class Preparation(Task):
    """Prepares a gallery's recipes, and tells how far it is; stopped within a batch of photos, what is ready stays."""

    def __init__(self, gallery: Gallery, *, maps: bool = True, on_demand: bool = True) -> None:
        """With `maps` the galleries' maps are drawn at the end; else each when it is first looked at.

        With `on_demand` a recipe that is not prepared is so as soon as somebody wants to search with it.
        """
        super().__init__("prepare")
        self.gallery = gallery
        self._maps = maps
        self._on_demand = on_demand
        self._statuses = {name: Status("waiting" if name in UNASKED else "unasked") for name in RECIPES}
        self._wanted: set[str] = set()  # to be opened or built now
        self._problem = ""
        self.people: KnownPeople | None = None  # None until they are told apart, or where they cannot be
        self.grouping: Progress | None = None  # of telling them apart, as far as it has come
        self._tried: set[str] = set()  # recipes that cannot tell them apart

    def start(self, recipes: Iterable[str] = UNASKED) -> None:
        """Starts preparing these, unless it is under way. Called again, it retries what was unavailable."""

        def want() -> None:
            self._problem = ""
            self._tried.clear()
            for name in (*recipes, *self._in("unavailable")):
                self._want(name)

        self._start(self._run, want)

    def _prepare_too(self, recipe: str) -> None:
        """Prepares what nobody has asked for yet, at the latest after what is under way."""
        self._want(recipe)
        if not self._start(self._run):

            def afterwards() -> None:
                self.wait()
                self._start(self._run)

            threading.Thread(target=afterwards, name="prepare afterwards", daemon=True).start()

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
        return self._in("ready")

    def _in(self, *states: State) -> list[str]:
        """The recipes in any of these states, the default first."""
        return [name for name in IN_ORDER if self._statuses[name].state in states]

    def recipe(self, asked: object) -> str:
        """The recipe asked for, or where none is the best that is ready: NotReady if none is.

        SettingsError if there is none of that name, PhotosError if the gallery's photos cannot be had.
        """
        if asked not in ("", None):
            return choice(asked, RECIPES, "recipe")
        if not (ready := self.ready()):
            if self._problem and not self.working:
                raise PhotosError(self._problem)
            raise NotReady(self._problem or "The gallery is not ready yet; ask again in a while.")
        return ready[0]

    def searcher(self, asked: object) -> Searcher:
        """The searcher of the recipe as `recipe` has it; GalleryError says why it cannot be searched yet.

        If that is because nobody has asked for it, it is prepared from now on.
        """
        recipe = self.recipe(asked)
        if recipe not in self.gallery.offered:
            raise GalleryError(f"{RECIPES[recipe].label} is not offered for this gallery; choose another model.")
        if self._statuses[recipe].state == "unasked":
            if not self._on_demand:
                raise GalleryError(f"{RECIPES[recipe].label} is not prepared on this server; choose another model.")
            self._prepare_too(recipe)
        status = self._statuses[recipe]
        if status.state == "unavailable":
            raise GalleryError(f"{RECIPES[recipe].label} cannot be used here: {status.reason}")
        if status.state != "ready":
            raise NotReady(
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

    def _run(self) -> None:
        try:
            self.gallery.open_photos(partial(self._preparing, tuple(self._wanted)))
            for name in self._in("unasked", "waiting", "preparing"):
                self._open(name)
            self._tell_apart()
            while self._wanted:
                self._build(next(name for name in IN_ORDER if name in self._wanted))
                self._tell_apart()
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

    def _open(self, name: str) -> None:
        """Opens a gallery that is built already; if it is wanted, weights that are gone are downloaded."""
        if not (self.gallery.folder(name) / MANIFEST).is_file():
            return
        before = self._statuses[name]
        if name not in self._wanted and not self.gallery.encoders.on_disk(name):
            return
        try:
            self.gallery.encoders.get(name, partial(self._preparing, [name]))
            self._set_ready(name)
        except GalleryError:
            self._statuses[name] = before  # if it is wanted, it is built anew
        except PipelineError as error:
            self._set_unavailable(name, str(error))

    def _build(self, name: str) -> None:
        """Builds one; if its weights cannot be had, or there are too few faces for it, the others go on."""
        try:
            if reason := self.gallery.why_unavailable(name):
                self._set_unavailable(name, reason)
                return
            self.gallery.encoders.get(name, partial(self._preparing, [name]))
        except PipelineError as error:
            self._set_unavailable(name, str(error))
            return
        try:
            self.gallery.build([name], partial(self._preparing, [name]))
        except GalleryTooSmall as error:
            self._set_unavailable(name, str(error))
            return
        self._set_ready(name)

    def _tell_apart(self) -> None:
        """Tells the people apart, unless they are, by the best recipe that can; one that is coming is waited for."""
        if self.people is not None:
            return
        here = takewhile(lambda name: name not in self._wanted, IN_ORDER)
        untried = [name for name in here if RECIPES[name].finds_faces and name not in self._tried]
        usable = [name for name in untried if self._statuses[name].state == "ready"]
        try:
            self.people = found_people(self.gallery, usable, self._grouping)
        except Stopped:
            raise
        except Exception:  # searches are not to wait for what nobody can mend here
            log.exception("telling people apart failed")
        else:
            self._tried.update(usable)

    def _set_unavailable(self, name: str, reason: str) -> None:
        self._statuses[name] = Status("unavailable", reason)
        self._wanted.discard(name)
        if STAND_INS.get(name) in self.gallery.offered:
            self._want(STAND_INS[name])

    def _want(self, name: str) -> None:
        if self._statuses[name].state != "ready":
            self._statuses[name] = Status("waiting")
            self._wanted.add(name)

    def _draw_maps(self) -> None:
        for name in self.ready():
            if not (self._stopping.is_set() or self._wanted):
                open_map(self.gallery.searcher(name).embeddings)

    def _set_ready(self, name: str) -> None:
        self._warm_up(self.gallery.searcher(name))
        custom = self.gallery.encoders.get(name, silent).weights.custom
        self._statuses[name] = Status("ready", custom_weights=custom)
        self._wanted.discard(name)

    def _warm_up(self, searcher: Searcher) -> None:
        # The first run of a network costs several times the others (memory, kernels chosen); not the visitor's.
        if len(searcher.embeddings):
            searcher.search(Image.new("RGB", (250, 250), "grey"), k=1, choose=None)

    def _preparing(self, names: Iterable[str], progress: Progress) -> None:
        if self._stopping.is_set():
            raise Stopped("Preparing was stopped; start it again.")
        for name in names:
            self._statuses[name] = Status("preparing", progress=progress)

    def _grouping(self, progress: Progress) -> None:
        self._preparing((), progress)
        self.grouping = progress

    def _give_up(self, reason: str) -> None:
        self._problem = "" if self.ready() else reason
        self._wanted.clear()
        for name, status in self._statuses.items():
            if status.state in ("waiting", "preparing"):
                self._statuses[name] = Status("unavailable", reason)
