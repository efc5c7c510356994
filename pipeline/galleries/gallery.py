"""What one process has open: the gallery's photos, an encoder for each recipe asked for, and their searchers."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from pipeline.core.errors import PhotosError, PipelineError, SettingsError
from pipeline.core.progress import Report, silent
from pipeline.core.recipes import IN_ORDER, MINI, PREFERRED, recipe_named
from pipeline.core.settings import DEFAULT_CACHE, EMBEDDED, Milvus, Settings
from pipeline.embeddings.build import build_embeddings, build_shard, embeddings_folder, missing_indexes, open_embeddings
from pipeline.embeddings.corrections import Corrections
from pipeline.embeddings.fetch import THUMBNAILS, PublishedIndex
from pipeline.embeddings.store import MANIFEST, Embeddings, is_built_of, load_embeddings, seal
from pipeline.encoder.encoder import Encoders, StoredEncoders
from pipeline.encoder.layer import why_too_few
from pipeline.encoder.weights import WeightStore
from pipeline.evaluation.calibrate import calibrate
from pipeline.evaluation.pairs import VIEW_1, open_pairs
from pipeline.photos.photos import Photos
from pipeline.photos.pictures import Pictures
from pipeline.photos.sources import FOLDER, TITLES, open_photos
from pipeline.search.calibration import (
    OWN,
    Calibration,
    find,
    from_json,
    read_calibrations,
    shipped,
    write_calibrations,
)
from pipeline.search.searcher import Searcher, open_searcher

log = logging.getLogger(__name__)

# The ten people with six photos each that the ancestors searched for, by their first photo.
EXAMPLES = tuple(
    f"{name}_0001"
    for name in (
        "Albert_Costa",
        "Angela_Bassett",
        "Arminio_Fraga",
        "Billy_Crystal",
        "Bob_Graham",
        "Boris_Becker",
        "Bulent_Ecevit",
        "Calista_Flockhart",
        "Cameron_Diaz",
        "Carmen_Electra",
    )
)


class Gallery:
    """The photos, the encoders, and a searcher for each recipe whose gallery is built.

    Attributes:
        offered: the recipes that this gallery can be asked for, the preferred first.
        of_people: whether its faces are grouped into people: every face of somebody's photos is in it.
        thumbnails_root: the folder of its pictures as files; the only one in the index that a page may serve.
    """

    offered: Sequence[str] = IN_ORDER

    def __init__(
        self,
        dataset: str,
        encoders: Encoders,
        index_root: Path,
        milvus: Milvus = EMBEDDED,
        cache: Path = DEFAULT_CACHE,
    ) -> None:
        """`dataset` as `photos.open_photos` takes it; `index_root` is where galleries are built.

        `cache` keeps LFW's pairs where they had to be downloaded.
        """
        self.encoders = encoders
        self.index_root = index_root
        self.thumbnails_root = index_root / THUMBNAILS
        self.of_people = dataset.startswith(FOLDER)
        self._dataset = dataset
        self._cache = cache
        self.milvus = milvus
        self.published: PublishedIndex | None = None
        self._photos: Photos | None = None
        self._built: dict[str, Embeddings] = {}  # and not searched yet
        self._searchers: dict[str, Searcher] = {}
        self._names: Mapping[str, str] = {}
        self._lock = threading.Lock()

    def fetch_from(self, repo: str) -> None:
        """From now on, what is published in this repository of the Hub is fetched before anything is built."""
        self.published = PublishedIndex(repo)

    @property
    def photos(self) -> Photos:
        """The gallery's photos, opened at first use; PhotosError if they cannot be had."""
        return self.open_photos(silent)

    def open_photos(self, report: Report) -> Photos:
        """The same, and says how far a download is."""
        if self._photos is None:
            self._photos = self._opened(report)
        return self._photos

    def forget_photos(self) -> None:
        """Lets the photos be looked for again when they are next asked for."""
        self._photos = None

    def _opened(self, report: Report) -> Photos:
        photos = open_photos(self._dataset, report)
        former = photos.former
        return former if former and is_built_of(self.index_root / former.name, former.revision) else photos

    @property
    def title(self) -> str:
        """What the gallery is called, also while its photos are not there yet."""
        name = re.split("[/:]", self._dataset.rstrip("/"))[-1]
        return self._photos.title if self._photos else TITLES.get(name, name)

    def default_recipe(self) -> str:
        """The recipe to use where none is asked for: the best that is built and ready, or else to be built."""
        self.open_photos(silent)  # what is wrong with them is said once, not with every recipe
        return next((name for name in IN_ORDER if self._is_ready(name)), None) or self.recipe_to_build()

    def recipe_to_build(self) -> str:
        """The recipe to build where none is asked for: the best one whose weights are here or to be had."""
        usable = (name for name in PREFERRED if self.encoders.why_unavailable(name) is None)
        return next(usable, MINI)

    def _is_ready(self, recipe: str) -> bool:
        """Whether the recipe can be searched with now, without a build or a download."""
        try:
            if not (self.folder(recipe) / MANIFEST).is_file() or not self.encoders.on_disk(recipe):
                return False
            self.searcher(recipe)
        except PipelineError as error:
            log.warning("%s is passed over: %s", recipe, error)
            return False
        return True

    def why_unavailable(self, recipe: str) -> str | None:
        """One sentence if the recipe cannot be had here: its weights, or photos enough for it. Else None."""
        return self.encoders.why_unavailable(recipe) or self.why_too_small(recipe)

    def why_too_small(self, recipe: str) -> str | None:
        """One sentence if there are too few photos for the recipe, else None."""
        return why_too_few(len(self.photos), recipe_named(recipe))

    def searcher(self, recipe: str) -> Searcher:
        """The recipe's searcher; GalleryError if its gallery is not built, WeightsError if its weights are missing."""
        with self._lock:
            if recipe not in self._searchers:
                encoder = self.encoders.get(recipe)
                embeddings = self._built.pop(recipe, None) or open_embeddings(self.photos, encoder, self.index_root)
                if missing_indexes(embeddings):
                    embeddings = build_embeddings(self.photos, [encoder], self.index_root, milvus=self.milvus)[recipe]
                people, calibration = self._people_of(embeddings), self._calibration(embeddings)
                self._searchers[recipe] = open_searcher(embeddings, encoder, self.milvus, calibration, people)
            return self._searchers[recipe]

    def name_faces(self, names: Mapping[str, str]) -> None:
        """What faces are called from now on, by their ids, by every recipe; others as the photos say."""
        with self._lock:
            self._names, searchers = names, dict(self._searchers)
        named = {recipe: each.naming(self._people_of(each.embeddings)) for recipe, each in searchers.items()}
        with self._lock:
            self._searchers |= named

    def _people_of(self, embeddings: Embeddings) -> Sequence[str | None] | None:
        """Who each face shows, as a `Searcher` has it."""
        if not self.photos.named:
            return [self._names.get(face) for face in embeddings.photo_ids] if self._names else None
        known, ids = self.corrections, embeddings.photo_ids
        nobody = known.dropped if self.photos.every_face else frozenset()
        rows = zip(ids, known.people(ids, embeddings.people), embeddings.people, embeddings.named.tolist(), strict=True)
        return [
            None if face in nobody else self._names.get(face, name if named or name != before else None)
            for face, name, before, named in rows
        ]

    @property
    def corrections(self) -> Corrections:
        """What is known to be wrong with the photos' names."""
        return Corrections.of(self.photos, self.index_root / self.photos.name)

    def build(self, recipes: Sequence[str], report: Report = silent) -> None:
        """Builds the recipes' galleries in one pass over the photos, as far as they are neither built nor published."""
        photos = self.photos
        encoders = [self.encoders.get(recipe, report) for recipe in recipes]
        if self.published is not None:
            self.published.fetch(photos, encoders, self.index_root, report)
        built = build_embeddings(photos, encoders, self.index_root, report, self.milvus)
        with self._lock:
            self._built |= {name: embeddings for name, embeddings in built.items() if name not in self._searchers}
        unknown = {name: embeddings for name, embeddings in built.items() if self._calibration(embeddings) is None}
        try:
            self._calibrate(unknown, report)
        except PhotosError as error:
            log.warning("Answers of %s come without verdicts: %s", ", ".join(unknown), error)

    def calibrate(self, recipes: Sequence[str], report: Report = silent) -> list[Calibration]:
        """Measures what these recipes' distances mean and keeps it, for this gallery and all that are built here.

        SettingsError if the photos are not LFW, PhotosError if its pairs cannot be had.
        """
        measured = self._calibrate({recipe: self.searcher(recipe).embeddings for recipe in recipes}, report)
        if not measured:
            raise SettingsError(
                "Calibrating needs a gallery of all of LFW, and this is none; unset FACESEARCH_DATASET."
            )
        return measured

    def _calibrate(self, all_embeddings: Mapping[str, Embeddings], report: Report) -> list[Calibration]:
        """The same for galleries that are open already; nothing where the photos are not LFW."""
        pairs = open_pairs(self._dataset, self.photos, self._cache, VIEW_1) if all_embeddings else None
        if pairs is None:
            return []
        corrections = self.corrections
        measured = [calibrate(each, self.photos, pairs, corrections, report) for each in all_embeddings.values()]
        kept = {
            recipe: _calibrated(embeddings, calibration, self.index_root)
            for (recipe, embeddings), calibration in zip(all_embeddings.items(), measured, strict=True)
        }
        write_calibrations(self.index_root / OWN, measured)
        with self._lock:
            self._built |= kept
            for recipe in kept:
                self._searchers.pop(recipe, None)
        return measured

    def _calibration(self, embeddings: Embeddings) -> Calibration | None:
        """What is known of the gallery's distances: measured on it, or with the same weights here, or shipped."""
        manifest = embeddings.manifest
        recipe, weights = recipe_named(manifest["recipe"]["name"]), manifest["weights"]["sha256"]
        known = [*read_calibrations(self.index_root / OWN), *shipped()]
        with suppress(ValueError):  # none, or one of an earlier version
            known.insert(0, from_json(manifest.get("calibration", {})))
        return find(known, recipe, weights, manifest["photos_revision"])

    def build_shard(self, recipes: Sequence[str], shard: tuple[int, int], report: Report = silent) -> int:
        """Embeds one worker's share of the photos for these recipes; returns how many parts are left for others."""
        photos = self.photos
        encoders = [self.encoders.get(recipe, report) for recipe in recipes]
        return build_shard(photos, encoders, self.index_root, shard, report)

    def folder(self, recipe: str) -> Path:
        """Where the recipe's gallery is, or will be."""
        return embeddings_folder(self.index_root, self.photos, recipe)

    def examples(self) -> list[str]:
        """Photo ids to try: LFW's ten, or the first photos of ten people of another gallery."""
        known = [photo_id for photo_id in EXAMPLES if self.photos.row_of(photo_id) is not None]
        firsts = dict(zip(reversed(self.photos.people), reversed(self.photos.photo_ids), strict=True))
        return known or list(reversed(firsts.values()))[: len(EXAMPLES)]

    def person(self, photo_id: str) -> str:
        """Who a photo of the gallery shows."""
        return self.photos.person(photo_id)

    @property
    def pictures(self) -> Pictures:
        """The gallery's photos as files that browsers show."""
        return Pictures(self.photos, self.thumbnails_root / self.photos.name)


def _calibrated(embeddings: Embeddings, calibration: Calibration, root: Path) -> Embeddings:
    """The same with what was measured on it in its manifest, on the disk too."""
    with FileLock(root / f".{embeddings.manifest['gallery']}.lock"):
        current = load_embeddings(embeddings.folder, embeddings.manifest["fingerprint"], mapped=False)
        facts = {**current.manifest, "calibration": calibration.as_json()}
        return replace(embeddings, manifest=seal(embeddings.folder, facts))


def open_gallery(settings: Settings) -> Gallery:
    """The gallery that the environment describes. Loads nothing yet."""
    store = WeightStore(settings.models, settings.cache, settings.custom_weights)
    encoders = StoredEncoders(store, gpu=not settings.zero_gpu)  # ZeroGPU lends one for moments, which nobody asks for
    gallery = Gallery(settings.dataset, encoders, settings.index, settings.milvus, settings.cache)
    if settings.index_repo:
        gallery.fetch_from(settings.index_repo)
    return gallery
