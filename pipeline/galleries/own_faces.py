"""The faces in a visitor's own photos, as a gallery."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.progress import Report
from pipeline.core.recipes import OF_FACES
from pipeline.encoder.encoder import Encoders
from pipeline.galleries.gallery import Gallery
from pipeline.photos.folders import own_photos
from pipeline.photos.photos import Photos

TITLE = "Your photos"


class OwnFaces(Gallery):
    """A gallery of every face in the photos below one folder."""

    offered = OF_FACES

    def __init__(self, folder: Path, encoders: Encoders, pictures: Path) -> None:
        """`pictures` is the folder of all visitors' pictures, which lie apart from the photos and vectors."""
        super().__init__(TITLE, encoders, folder / "index")
        self._folder = folder
        self.thumbnails_root, self.of_people = pictures, True

    def _opened(self, report: Report) -> Photos:
        """The photos as they were at first use; PhotosError if there are none."""
        return own_photos(self._folder / "photos", (self._folder.name, TITLE))
