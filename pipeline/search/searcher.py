"""Searching: one photo in, one Answer out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from PIL import Image

from pipeline.core.errors import SettingsError
from pipeline.core.recipes import DEFAULT_INDEX, DEFAULT_K, MAX_K
from pipeline.core.settings import EMBEDDED, Milvus
from pipeline.core.types import Answer, Encoded, FloatArray, Hit, VectorIndex
from pipeline.core.verdicts import PersonVerdict, Words
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.encoder import Encoder
from pipeline.encoder.faces import Choose, largest, numbered
from pipeline.encoder.look import Look, again, look
from pipeline.indexes.registry import available, open_index, why_unavailable
from pipeline.search import journal
from pipeline.search.calibration import Calibration
from pipeline.search.person import LISTED, evidence

MOST_FACES = 60  # searched with at once; each takes about 30 ms


class Searcher:
    """A gallery with the encoder it was built by and its indexes. Safe to use from several threads."""

    def __init__(
        self,
        embeddings: Embeddings,
        encoder: Encoder,
        indexes: Mapping[str, VectorIndex],
        calibration: Calibration | None = None,
        people: Sequence[str | None] | None = None,
    ) -> None:
        """Without a `calibration` there are no verdicts.

        `people` says who each row of the gallery shows, corrected, and None of a face that nobody named; it is None
        itself where the gallery's names are not those of people. The rows of the former are `unnamed`.
        """
        self.embeddings = embeddings
        named = people or embeddings.people
        self.people = tuple(name or photo for name, photo in zip(named, embeddings.people, strict=True))
        self.unnamed = frozenset(row for row, name in enumerate(named) if name is None)
        self._photos = Counter(name for name in named if name is not None)
        self._named = people is not None and len(self._photos) < self._photos.total()  # else each may be a file's name
        self.encoder = encoder
        self.indexes = indexes
        self.calibration = calibration

    def naming(self, people: Sequence[str | None] | None) -> Searcher:
        """The same with other names."""
        return Searcher(self.embeddings, self.encoder, self.indexes, self.calibration, people)

    def look(self, image: Image.Image, before: Look | None = None) -> Look:
        """The faces of the RGB image, as this searcher's detector finds or found them; none where it looks for none."""
        if self.encoder.detector is None:
            return Look(image, ())
        return again(image, before) if before else look(image, self.encoder.detector)

    def search(
        self,
        image: Image.Image | Look,
        k: int = DEFAULT_K,
        index: str = DEFAULT_INDEX,
        *,
        choose: Choose | None = largest,
        vector: FloatArray | None = None,
    ) -> Answer:
        """The k photos nearest to the face that `choose` picks in the RGB image; None searches with the whole photo.

        Of an image that was looked at already the faces are not looked for again. With a `vector` that is searched
        with in place of the face's own: of all photos of a person, of which this is one.
        """
        check_request(k, index)
        seen = image if isinstance(image, Look) else Look(image, ()) if choose is None else self.look(image)
        encoded = self._encoded(seen, choose)
        if vector is not None and encoded.vector is not None:
            encoded = replace(encoded, vector=vector)
        return self.answer(encoded, k, index)

    def search_every_face(
        self, image: Image.Image | Look, k: int = DEFAULT_K, index: str = DEFAULT_INDEX
    ) -> tuple[Answer, ...]:
        """An answer for each face of the RGB image, in the detector's order; the faces are found once for all.

        Of a crowd, only for the first `MOST_FACES`, which are the largest.
        """
        check_request(k, index)
        seen = image if isinstance(image, Look) else self.look(image)
        numbers = range(1, max(min(len(seen.faces), MOST_FACES), 1) + 1)
        return tuple(self.answer(self._encoded(seen, numbered(number)), k, index) for number in numbers)

    def _encoded(self, seen: Look, choose: Choose | None) -> Encoded:
        encoded = self.encoder.encode([seen.image], choose, [seen.faces])[0]
        return replace(encoded, detect_ms=seen.milliseconds)

    def answer(self, encoded: Encoded, k: int, index: str) -> Answer:
        """The k photos nearest to what the encoder made of a photo."""
        started = time.perf_counter()
        calibration, faces = self._calibration_for(encoded), len(self.embeddings)
        hits = self._hits(encoded, max(k, LISTED + min(len(self.unnamed), LISTED)), index)
        limit = calibration.presence(faces) if calibration else None
        person = self._judge(hits, calibration) if calibration and hits else None
        hits = hits[:k]
        if calibration and person:
            limit = calibration.limit(hits[0].distance, faces, person.words)
            hits = [replace(hit, verdict=calibration.verdict_beside(person, hit, faces)) for hit in hits]
        steps = {
            "detect": encoded.detect_ms,
            "embed": encoded.embed_ms,
            "search": (time.perf_counter() - started) * 1000,
        }
        answer = Answer(
            recipe=self.encoder.recipe.name,
            index=index,
            gallery=self.embeddings.manifest["gallery"],
            faces=encoded.faces,
            face=encoded.face,
            crop=encoded.crop,
            hits=tuple(hits),
            timings_ms=steps | {"total": sum(steps.values())},
            limit=limit,
            person=person,
        )
        journal.answered(answer)
        return answer

    def recall(self, index: str) -> float:
        """The index's recall@20 against exact search on this gallery, measured when it was built."""
        facts = self.embeddings.manifest["indexes"].get(index)
        # An index that joined after the gallery was opened knows its own.
        return float(facts["recall_at_20"] if facts else getattr(self.indexes[index], "recall_at_20", 0))

    def _calibration_for(self, encoded: Encoded) -> Calibration | None:
        """What was measured on faces says nothing of a whole photo that is compared with faces."""
        return self.calibration if encoded.face or not self.encoder.recipe.finds_faces else None

    def _hits(self, encoded: Encoded, k: int, index: str) -> list[Hit]:
        if encoded.vector is None:
            return []
        found = self.indexes[index].search(encoded.vector, k)
        pairs = zip(found.rows[0].tolist(), found.distances[0].tolist(), strict=True)
        return [
            Hit(rank, self.embeddings.photo_ids[row], self.people[row], distance, named=row not in self.unnamed)
            for rank, (row, distance) in enumerate(pairs, start=1)
        ]

    def photos_of(self, person: str) -> int:
        """How many photos of the person the gallery has; 0 where its names are those of folders or files."""
        return self._photos[person] if self._named else 0

    def _judge(self, hits: Sequence[Hit], calibration: Calibration) -> PersonVerdict:
        """What the list says of the person it names first, or of its first face, where nobody named that: the surer."""
        named = [hit for hit in hits if hit.named]
        verdicts = [self._judged(named[:LISTED], calibration, named=self._named)] if named else []
        if not hits[0].named:
            verdicts.append(self._judged(hits[:1], calibration, named=False))
        return min(verdicts, key=lambda verdict: get_args(Words).index(verdict.words))

    def _judged(self, hits: Sequence[Hit], calibration: Calibration, *, named: bool) -> PersonVerdict:
        names = [hit.person for hit in hits]
        people, distances = np.full((1, LISTED), -1), np.full((1, LISTED), np.inf)
        people[0, : len(hits)] = [names.index(name) for name in names]
        distances[0, : len(hits)] = [hit.distance for hit in hits]
        photos, faces = self._photos[names[0]], len(self.embeddings)
        seen = evidence(people, distances, np.array([photos]), np.array([faces]), calibration.person.strangers)
        return calibration.judge(names[0], seen, faces, named=named)


def check_request(k: int, index: str) -> None:
    """SettingsError for a k or an index that cannot be."""
    if not 1 <= k <= MAX_K:
        raise SettingsError(f"The number of results is {k}; choose 1 to {MAX_K}.")
    if (reason := why_unavailable(index)) is not None:
        raise SettingsError(reason)


def open_searcher(
    embeddings: Embeddings,
    encoder: Encoder,
    milvus: Milvus = EMBEDDED,
    calibration: Calibration | None = None,
    people: Sequence[str | None] | None = None,
) -> Searcher:
    """The gallery with all its indexes opened, as far as their packages are installed."""
    facts = embeddings.manifest["indexes"]
    # Milvus may have been out of reach when the others were built; it is filled at the first search then.
    names = [name for name in available() if name in facts or name == "milvus"]
    told = embeddings.collection(milvus)
    indexes = {
        name: open_index(name, embeddings.vectors, embeddings.folder, facts.get(name, {}), told) for name in names
    }
    if embeddings.layer is not None:
        encoder = encoder.under(encoder.recipe, layer=embeddings.layer)
    return Searcher(embeddings, encoder, indexes, calibration, people)
