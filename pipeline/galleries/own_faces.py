"""The faces in a visitor's own photos, as a gallery."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.progress import Report
from pipeline.core.recipes import RECIPES
from pipeline.encoder.encoder import Encoders
from pipeline.galleries.gallery import Gallery, all_recipes
from pipeline.photos.folders import own_photos
from pipeline.photos.photos import Photos

TITLE = "Your photos"


class OwnFaces(Gallery):
    """A gallery of every face in the photos below one folder."""

    def __init__(self, folder: Path, encoders: Encoders, pictures: Path) -> None:
        """`pictures` is the folder of all visitors' pictures, which lie apart from the photos and vectors."""
        super().__init__(TITLE, encoders, folder / "index")
        self._folder = folder
        self._pictures = pictures

    @property
    def thumbnails_root(self) -> Path:
        """That folder."""
        return self._pictures

    @property
    def offered(self) -> list[str]:
        """As `face_recipes` has it."""
        return face_recipes()

    @property
    def of_people(self) -> bool:
        """They are."""
        return True

    def _opened(self, report: Report) -> Photos:
        """The photos as they were at first use; PhotosError if there are none."""
        return own_photos(self._folder / "photos", (self._folder.name, TITLE))


def face_recipes() -> list[str]:
    """The recipes that look for faces, the preferred first: a gallery of faces is of no use to the others.

    None that is fitted on the gallery: a visitor's photos are too few for that.
    """
    return [name for name in all_recipes() if RECIPES[name].finds_faces and RECIPES[name].layer != "pca"]
