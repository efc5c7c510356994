"""Publishing embeddings to a model repository of the Hub, in one commit, with the layout of the index folder."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import HubError
from pipeline.core.files import digest, read_sealed, sealed
from pipeline.core.hub import endpoint, reachable
from pipeline.core.progress import Report, silent
from pipeline.core.tables import markdown_table
from pipeline.embeddings.fetch import THUMBNAILS, travelling
from pipeline.embeddings.store import MANIFEST, Embeddings
from pipeline.photos.pictures import PACK, Pictures, pack

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

CARD = "README.md"
Content = str | Path | bytes
ABOUT = """---
tags:
- reverse-face-search
- face-recognition
---
# Galleries for Reverse Face Search

Face vectors, the boxes and landmarks of the faces, the names of photos and people, and search indexes: built by Reverse
Face Search, and fetched by it where `FACESEARCH_INDEX_REPO` names this repository. Arrays and JSON, no pickle;
`manifest.json` beside each gallery holds every file's SHA-256. A gallery is used only where the photos, the weights and
the code are those it was built from. Face vectors are biometric data.

"""
COLUMNS = (
    *("gallery", "recipe", "photos indexed", "dimension"),
    *("photos' revision", "weights' SHA-256", "fingerprint"),
)


def publish(
    pictures: Pictures, all_embeddings: Sequence[Embeddings], repo: str, report: Report = silent, *, private: bool
) -> str:
    """Uploads embeddings, with the thumbnails of their photos.

    Args:
        pictures: the thumbnails.
        all_embeddings: of one gallery, by several recipes.
        repo: `user/name`; created if it does not exist.
        report: receives the progress.
        private: whether a new repository is private; one that exists and is public is then refused.

    Returns:
        The commit's address.

    Raises:
        HubError: the Hub cannot be reached, or refuses.
    """
    if re.fullmatch(r"[\w.-]+/[\w.-]+", repo) is None:
        raise _no_name(repo)
    if not reachable():
        raise HubError(f"{endpoint()} cannot be reached for publishing; connect, or set HF_ENDPOINT to a Hub that can.")
    name = pictures.photos.published_name
    all_embeddings = [replace(one, manifest={**one.manifest, "gallery": name}) for one in all_embeddings]
    with tempfile.TemporaryDirectory() as folder:
        files = _thumbnails(pictures, Path(folder) / PACK, report)
        for embeddings in all_embeddings:
            files |= _files(embeddings)
        return _upload(repo, all_embeddings, files, private=private)


def _upload(repo: str, all_embeddings: Sequence[Embeddings], files: Mapping[str, Content], *, private: bool) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        api = HfApi()
        api.create_repo(repo, private=private or None, exist_ok=True)
        before = api.model_info(repo)
        if private and not before.private:
            raise HubError(f"{repo} exists and is public; make it private first, or publish with --public.")
        card = _card(_manifests(api, before, all_embeddings)).encode()
        added = [CommitOperationAdd(path, content) for path, content in {**files, CARD: card}.items()]
        return str(api.create_commit(repo, added, commit_message=_message(all_embeddings)).commit_url)
    except HubError:
        raise
    except HFValidationError as error:
        raise _no_name(repo) from error
    except Exception as error:  # the errors of whichever HTTP library the Hub's client uses, beside its own
        raise _refused(repo, error) from error


def _no_name(repo: str) -> HubError:
    return HubError(f"{repo!r} is no name for a repository on the Hub; give --repo user/name.")


def _message(all_embeddings: Sequence[Embeddings]) -> str:
    recipes = ", ".join(_recipe(embeddings) for embeddings in all_embeddings)
    return f"Galleries of {all_embeddings[0].manifest['gallery']}: {recipes}"


def _recipe(embeddings: Embeddings) -> str:
    return str(embeddings.manifest["recipe"]["name"])


def _path(embeddings: Embeddings) -> str:
    return f"{embeddings.manifest['gallery']}/{_recipe(embeddings)}"


def _files(embeddings: Embeddings) -> dict[str, Content]:
    """The files to upload by their path in the repository."""
    manifest = travelling(embeddings.manifest)
    manifest.pop("former_collection", None)  # which exists here only
    files: dict[str, Content] = {f"{_path(embeddings)}/{name}": embeddings.folder / name for name in manifest["files"]}
    return files | {f"{_path(embeddings)}/{MANIFEST}": _json(sealed(manifest))}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _thumbnails(pictures: Pictures, path: Path, report: Report) -> dict[str, Content]:
    """The archive of thumbnails and its manifest, by their paths in the repository; empty without thumbnails."""
    photos = pictures.photos
    count, folder = pack(photos, pictures.thumbnail, path, report), f"{THUMBNAILS}/{photos.published_name}"
    if not count:
        return {}
    manifest = {"photos_revision": photos.revision, "thumbnails": count, "files": {PACK: digest(path)}}
    return {f"{folder}/{PACK}": path, f"{folder}/{MANIFEST}": _json(sealed(manifest))}


def _manifests(api: HfApi, before: ModelInfo, all_embeddings: Sequence[Embeddings]) -> dict[str, Mapping[str, Any]]:
    """The manifests of all embeddings in the repository, published now or before, by path."""
    manifests: dict[str, Mapping[str, Any]] = {_path(embeddings): embeddings.manifest for embeddings in all_embeddings}
    for sibling in before.siblings or ():
        folder, _, file = sibling.rfilename.rpartition("/")
        if file == MANIFEST and folder not in manifests and not folder.startswith(f"{THUMBNAILS}/"):
            kept = api.hf_hub_download(before.id, sibling.rfilename, revision=before.sha)
            with suppress(ValueError):  # damaged: nobody would fetch it
                manifests[folder] = read_sealed(Path(kept))
    return dict(sorted(manifests.items()))


def _card(manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """The repository's model card."""
    rows = [
        (
            f"`{manifest['gallery']}`",
            f"`{manifest['recipe']['name']}`",
            f"{manifest['counts']['indexed']:,}",
            str(manifest["recipe"]["dim"]),
            f"`{manifest['photos_revision'][:16]}`",
            f"`{manifest['weights']['sha256'][:16]}`",
            f"`{manifest['fingerprint']}`",
        )
        for manifest in manifests.values()
    ]
    return ABOUT + "\n".join([*markdown_table(COLUMNS, rows), ""])


def _refused(repo: str, error: Exception) -> HubError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return HubError(
            f"{endpoint()} does not know who you are; run `hf auth login`, or set HF_TOKEN to a token that may write."
        )
    if status == 403:
        return HubError(
            f"Your token may not write to {repo} on {endpoint()}; use one that may, or publish under your own name."
        )
    return HubError(
        f"{repo} cannot be published on {endpoint()} ({type(error).__name__}); try again, and if it stays so, see "
        "whether the Hub says that it is down."
    )
