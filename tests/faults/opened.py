"""Opens the galleries of a folder and answers again and again, while somebody writes over their files.

`python -m tests.faults.opened PHOTOS INDEX`: a line of JSON for every line of stdin, the first unasked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.encoder import layer
from pipeline.galleries.gallery import Gallery
from tests.fakes import TinyEncoders, portrait

RECIPES = ("mtcnn-facenet", "mtcnn-facenet-128")  # the second has a layer of its own
INDEXES = ("exact", "annoy", "faiss", "knn", "kmeans")


def main() -> None:
    """Until stdin ends."""
    layer.FACES_PER_DIMENSION = 0  # as the gallery was built
    gallery = Gallery(f"imagefolder:{sys.argv[1]}", TinyEncoders(), Path(sys.argv[2]))
    searchers = [gallery.searcher(recipe) for recipe in RECIPES]
    while True:
        answers = [
            [(hit.photo_id, hit.distance) for hit in searcher.search(portrait(person, 1), 7, index).hits]
            for searcher in searchers
            for index in INDEXES
            for person in range(6)
        ]
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
