"""What one process has open: the gallery's photos, an encoder for each recipe asked for, and their searchers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pipeline.build import build_galleries, build_shard, gallery_folder, missing_indexes, open_gallery
from pipeline.encoders import Encoders, StoredEncoders
from pipeline.errors import SettingsError
from pipeline.heads import Epoch, train_head
from pipeline.images import face_file, open_image, original_file, thumbnail_file
from pipeline.photos import Photos, open_photos
from pipeline.recipes import DEFAULT, FALLBACK, RECIPES, recipe_named
from pipeline.search import Searcher, open_searcher
from pipeline.settings import EMBEDDED, Milvus, Settings
from pipeline.types import Box, Photo, Report, silent
from pipeline.weights import WeightStore

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


class Library:
    """The photos, the encoders, and a searcher for each recipe whose gallery is built."""

    def __init__(self, dataset: str, encoders: Encoders, index_root: Path, milvus: Milvus = EMBEDDED) -> None:
        """`dataset` as `photos.open_photos` takes it; `index_root` is where galleries are built."""
        self.encoders = encoders
        self.index_root = index_root
        self._dataset = dataset
        self.milvus = milvus
        self._searchers: dict[str, Searcher] = {}
        self._lock = threading.Lock()

    @cached_property
    def photos(self) -> Photos:
        """The gallery's photos, opened at first use; PhotosError if they cannot be had."""
        return open_photos(self._dataset)

    def default_recipe(self) -> str:
        """The recipe to use where none is asked for: the best one that is here or to be had."""
        return DEFAULT if self.encoders.why_unavailable(DEFAULT) is None else FALLBACK

    def searcher(self, recipe: str) -> Searcher:
        """The recipe's searcher; GalleryError if its gallery is not built, WeightsError if its weights are missing."""
        with self._lock:
            if recipe not in self._searchers:
                encoder = self.encoders.get(recipe)
                gallery = open_gallery(self.photos, encoder, self.index_root)
                if missing_indexes(gallery):
                    gallery = build_galleries(self.photos, [encoder], self.index_root, milvus=self.milvus)[recipe]
                self._searchers[recipe] = open_searcher(gallery, encoder, self.milvus)
            return self._searchers[recipe]

    def build(self, recipes: Sequence[str], report: Report = silent) -> None:
        """Builds the recipes' galleries in one pass over the photos, as far as they are not built yet."""
        photos = self.photos
        encoders = [self.encoders.get(recipe, report) for recipe in recipes]
        build_galleries(photos, encoders, self.index_root, report, self.milvus)

    def build_shard(self, recipes: Sequence[str], shard: tuple[int, int], report: Report = silent) -> int:
        """Embeds one worker's share of the photos for these recipes; returns how many parts are left for others."""
        photos = self.photos
        encoders = [self.encoders.get(recipe, report) for recipe in recipes]
        return build_shard(photos, encoders, self.index_root, shard, report)

    def train_head(self, recipe: str, epochs: int, report: Report = silent) -> tuple[Path, list[Epoch]]:
        """Trains the recipe's head on this gallery and keeps it; returns where, and the training curve."""
        chosen = recipe_named(recipe)
        self.build([chosen.base], report)
        below = self.searcher(chosen.base).gallery
        head, curve = train_head(below, chosen.dim, report, epochs)
        origin = {"backbone": below.manifest["weights"]["sha256"], "photos_revision": below.manifest["photos_revision"]}
        return self.encoders.keep_head(recipe, replace(head, facts={**head.facts, **origin})), curve

    def folder(self, recipe: str) -> Path:
        """Where the recipe's gallery is, or will be."""
        return gallery_folder(self.index_root, self.photos, recipe)

    def examples(self) -> list[str]:
        """Photo ids to try: LFW's ten, or the first photos of ten people of another gallery."""
        known = [photo_id for photo_id in EXAMPLES if self.photos.row_of(photo_id) is not None]
        firsts = dict(zip(reversed(self.photos.people), reversed(self.photos.photo_ids), strict=True))
        return known or list(reversed(firsts.values()))[: len(EXAMPLES)]

    def person(self, photo_id: str) -> str:
        """Who a photo of the gallery shows."""
        return self._photo(photo_id).person

    def thumbnail(self, photo_id: str) -> Path:
        """A photo of the gallery as a small file that browsers show."""
        return thumbnail_file(self._photo(photo_id), self.thumbnails_root / self.photos.name)

    def face(self, photo_id: str, box: Box) -> Path:
        """The face in that box of a photo of the gallery, as a small file that browsers show."""
        return face_file(self._photo(photo_id), box, self.thumbnails_root / self.photos.name)

    def size(self, photo_id: str) -> tuple[int, int]:
        """Width and height of a photo of the gallery, in pixels and upright."""
        return open_image(self._photo(photo_id).source).size

    def original(self, photo_id: str) -> Path:
        """A photo of the gallery as a file that browsers show and that can be searched with: not a pixel is changed."""
        return original_file(self._photo(photo_id), self.thumbnails_root / self.photos.name)

    def _photo(self, photo_id: str) -> Photo:
        row = self.photos.row_of(photo_id)
        if row is None:
            raise SettingsError(f"There is no photo {photo_id!r} in this gallery.")
        return self.photos[row]

    @property
    def thumbnails_root(self) -> Path:
        """The folder of those files, by gallery: the only one in the index that a page may serve."""
        return self.index_root / "thumbnails"


def open_library(settings: Settings) -> Library:
    """The library that the environment describes. Loads nothing yet."""
    store = WeightStore(settings.models, settings.cache, settings.custom_weights)
    return Library(settings.dataset, StoredEncoders(store), settings.index, settings.milvus)


def all_recipes() -> list[str]:
    """Every recipe, the default and its stand-in first: the order in which they are prepared."""
    return [DEFAULT, FALLBACK, *(name for name in RECIPES if name not in (DEFAULT, FALLBACK))]
