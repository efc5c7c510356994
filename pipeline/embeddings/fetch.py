"""Galleries from a repository of the Hub, for those that are not built here.

Nothing that is fetched is believed: a gallery must have been built from the photos, weights and code that are here, and
every file must be the one that its manifest describes. It is written aside and moved into place in one step. Whatever
goes wrong is one sentence in the log, and the gallery is built as if there were no repository.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.core.errors import GalleryError, HubError
from pipeline.core.files import digest, read_sealed, sealed, write_json
from pipeline.core.hub import INSTEAD, HubGone, Listing, get_file, meter, open_listing
from pipeline.core.progress import Progress, Report
from pipeline.embeddings.build import embeddings_folder, gallery_facts, open_embeddings, writing
from pipeline.embeddings.store import (
    FACE_COLUMNS,
    FORMAT,
    LAYER,
    MANIFEST,
    OWN_FILES,
    Embeddings,
    load_embeddings,
    seal,
)
from pipeline.encoder.encoder import Encoder
from pipeline.indexes.registry import INDEXES
from pipeline.photos.photos import Photos
from pipeline.photos.pictures import PACK, unpack

log = logging.getLogger(__name__)

THUMBNAILS = "thumbnails"
PLAIN_NAME = re.compile(r"\w[\w-]*(\.\w+)+")  # no folder, nothing hidden, nothing that stands for several


class PublishedIndex:
    """A repository with galleries. What it holds is asked once, so that all come from one commit."""

    def __init__(self, repo: str) -> None:
        """`repo` is `user/name` or `user/name@revision`."""
        self.repo = repo
        self._listing: Listing | None = None
        self._refused: set[str] = set()  # said once, and not tried again
        self._given_up = False

    def fetch(self, photos: Photos, encoders: Sequence[Encoder], root: Path, report: Report) -> list[str]:
        """Fetches what is not built in `root`; returns the recipes that were fetched.

        What stands in the way on the Hub is logged; StorageError where `root` cannot be written.
        """
        with writing(root), FileLock(root / f".{photos.name}.lock"):
            wanted = [encoder for encoder in encoders if not _is_built(photos, encoder, root)]
            # A host that was out of reach is not waited for again with every recipe.
            if not wanted or self._given_up:
                return []
            fetching, fetched = Fetching(photos, root, root / f".{photos.name}.fetched", report), list[str]()
            shutil.rmtree(fetching.aside, ignore_errors=True)  # what a run that was killed left there
            try:
                self._listing = self._listing or open_listing(self.repo)
                for encoder in wanted:
                    fetched += self._fetch_or_say(self._listing, encoder, fetching)
                if fetched:
                    _fetch_thumbnails(self._listing, fetching)
            except HubError as error:
                self._given_up = self._listing is None or isinstance(error, HubGone)
                log.warning("%s", error)
            finally:
                shutil.rmtree(fetching.aside, ignore_errors=True)
        return fetched

    def _fetch_or_say(self, listing: Listing, encoder: Encoder, fetching: Fetching) -> list[str]:
        """The recipe that was fetched: this one, or else that from whose gallery it can be made."""
        name = encoder.recipe.name
        if name in self._refused or _is_built(fetching.photos, encoder, fetching.root):
            return []
        try:
            fetch_gallery(listing, encoder, fetching)
        except HubGone:
            raise
        except HubError as error:
            self._refused.add(name)
            log.warning("%s", error)
            return self._fetch_or_say(listing, encoder.below, fetching) if encoder.below else []
        return [name]


@dataclass(frozen=True)
class Fetching:
    """What is fetched for, and where to: galleries go to `root`, by way of `aside`."""

    photos: Photos
    root: Path
    aside: Path
    report: Report


def fetch_gallery(listing: Listing, encoder: Encoder, fetching: Fetching) -> None:
    """One gallery, checked and moved into place; HubError says why it is refused."""
    photos, root = fetching.photos, fetching.root
    path = f"{photos.published_name}/{encoder.recipe.name}"
    place = embeddings_folder(root, photos, encoder.recipe.name)
    called = f"The gallery {path} in {listing.repo}"
    manifest = _manifest(listing, path, fetching, called)
    facts = gallery_facts(photos, encoder, place)
    if (manifest.get("format"), manifest.get("fingerprint")) != (FORMAT, facts["fingerprint"]):
        raise HubError(f"{called} was built from other photos, weights or code; {INSTEAD}.")
    try:
        if not all(PLAIN_NAME.fullmatch(name) for name in manifest["files"]):
            raise _Wrong(MANIFEST)
        manifest = travelling(manifest)
        _download(listing, path, manifest["files"], fetching)
        write_json(fetching.aside / path / MANIFEST, sealed(manifest))
        embeddings = load_embeddings(fetching.aside / path, facts["fingerprint"], mapped=False)
        _check(embeddings, photos, encoder)
    except _Wrong as wrong:
        raise HubError(f"{called} is not what its manifest describes ({wrong}); {INSTEAD}.") from wrong
    except (GalleryError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise HubError(f"{called} is not what its manifest describes; {INSTEAD}.") from error
    seal(embeddings.folder, {**manifest, **facts})  # what is known here is said from here
    _move(embeddings.folder, place, fetching.aside / "former")


class _Wrong(Exception):
    """What a gallery's manifest says otherwise."""


def _manifest(listing: Listing, path: str, fetching: Fetching, called: str) -> dict[str, Any]:
    if f"{path}/{MANIFEST}" not in listing.sizes:
        raise HubError(f"There is no gallery {path} in {listing.repo}; {INSTEAD}.")
    file = get_file(listing, f"{path}/{MANIFEST}", fetching.aside)
    try:
        return read_sealed(file)
    except ValueError as error:
        raise HubError(f"{called} has a manifest that cannot be read; {INSTEAD}.") from error


def travelling(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of what goes from one machine to another; the other indexes are built where it is opened."""
    indexes = {
        name: facts
        for name, facts in manifest["indexes"].items()
        if name in INDEXES and INDEXES[name].travels and set(facts["files"]) <= manifest["files"].keys()
    }
    taken = OWN_FILES.union([LAYER], *(facts["files"] for facts in indexes.values()))
    files = {name: expected for name, expected in manifest["files"].items() if name in taken}
    return {**manifest, "indexes": indexes, "files": files}


def _download(listing: Listing, path: str, files: Mapping[str, str], fetching: Fetching) -> None:
    if not files.keys() >= OWN_FILES:
        raise _Wrong(MANIFEST)
    missing = next((name for name in files if f"{path}/{name}" not in listing.sizes), None)
    if missing is not None:
        raise _Wrong(missing)
    total = sum(listing.sizes[f"{path}/{name}"] for name in files)
    bar = meter(Progress(f"Fetching {path} from {listing.repo}", "B", 0, total, 0, 0.0), fetching.report)
    for name, expected in files.items():
        if digest(get_file(listing, f"{path}/{name}", fetching.aside, bar)) != expected:
            raise _Wrong(name)


def _check(embeddings: Embeddings, photos: Photos, encoder: Encoder) -> None:
    """ValueError if this is no gallery of these photos by this encoder, whatever its manifest says."""
    fits_layer = (embeddings.layer is not None) == (encoder.below is not None and encoder.layer is None)
    # Few photos have fewer directions than the recipe has numbers: a PCA fitted on them ends there.
    dim = encoder.recipe.dim if embeddings.layer is None else len(embeddings.layer.weight)
    shapes = (embeddings.vectors.shape, embeddings.faces.shape)
    if not fits_layer or shapes != ((len(embeddings), dim), (len(embeddings), FACE_COLUMNS)):
        raise ValueError("not this recipe's vectors")
    known = [photo_id for photo_id in embeddings.photo_ids if photos.row_of(photo_id) is not None]
    if embeddings.people != tuple(map(photos.person, known)):
        raise ValueError("not these photos")


def _move(folder: Path, place: Path, former: Path) -> None:
    """Puts a gallery in place of what is there; killed in between, there is no gallery, and never half of one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.rmtree(former, ignore_errors=True)
        place.rename(former)
    folder.rename(place)


def _fetch_thumbnails(listing: Listing, fetching: Fetching) -> None:
    """Thumbnails that were published for these photos; without them they are made when they are first looked at."""
    photos = fetching.photos
    path = f"{THUMBNAILS}/{photos.published_name}"
    if not {f"{path}/{MANIFEST}", f"{path}/{PACK}"} <= listing.sizes.keys():
        return
    made_here = "they are made here instead"
    try:
        said = read_sealed(get_file(listing, f"{path}/{MANIFEST}", fetching.aside))
        revision, expected = said["photos_revision"], said["files"][PACK]
    except (ValueError, TypeError, KeyError) as error:
        raise HubError(f"The thumbnails in {listing.repo} have no usable manifest; {made_here}.") from error
    if revision != photos.revision:
        raise HubError(f"The thumbnails in {listing.repo} are of other photos; {made_here}.")
    total = listing.sizes[f"{path}/{PACK}"]
    bar = meter(Progress(f"Fetching thumbnails from {listing.repo}", "B", 0, total, 0, 0.0), fetching.report)
    archive = get_file(listing, f"{path}/{PACK}", fetching.aside, bar)
    if digest(archive) != expected:
        raise HubError(f"The thumbnails in {listing.repo} are not what their manifest describes; {made_here}.")
    unpack(archive, fetching.root / THUMBNAILS / photos.name, len(photos))


def _is_built(photos: Photos, encoder: Encoder, root: Path) -> bool:
    try:
        open_embeddings(photos, encoder, root)
    except GalleryError:
        return False
    return True
