"""Where a gallery's photos come from: a Hub dataset, a local copy of one, or any folder of photos."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from pipeline.core.errors import PhotosError
from pipeline.core.files import digest
from pipeline.core.folders import link_folder, make_folder
from pipeline.core.hub import endpoint, meter, reachable
from pipeline.core.progress import Progress, Report, silent
from pipeline.core.settings import LFW, SAMPLE, expanded
from pipeline.photos.folders import folder_photos, labelled_photos, slug, told_apart
from pipeline.photos.photos import Photos, revision

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

FOLDER = "imagefolder:"  # before the path of a folder of photos
TITLES = {LFW: "LFW", SAMPLE.name: "Sample"}
EMPTY = hashlib.sha256().hexdigest()  # the stamp of a row without content
RESERVED = (LFW, SAMPLE.name, "thumbnails", "own")  # in the folder of galleries, for others than any dataset
UNKNOWN = "unknown"  # who a photo shows, where its label is missing


@dataclass(frozen=True)
class HubDataset:
    """A dataset on the Hub; `rows` is how many a complete copy has, where that is known."""

    repo: str
    revision: str | None = None
    rows: int | None = None


# The first that answers is taken. `bitmind/lfw` holds the same photos; no revision of it is known to pin.
LFW_ON_THE_HUB = (
    HubDataset("logasja/lfw", "0ee47979927a48dadf11083cb53b51439fa92dc9", 13_233),
    HubDataset("bitmind/lfw", None, 13_233),
)


def open_photos(dataset: str, report: Report = silent) -> Photos:
    """Opens what FACESEARCH_DATASET names: `lfw`, `sample`, a Hub id or `id@revision`, a folder, `imagefolder:PATH`.

    PhotosError says in one sentence what is missing and what to set instead; a host out of reach costs seconds.
    """
    if dataset == SAMPLE.name:
        return _sample()
    if dataset.startswith(FOLDER):
        path = dataset.removeprefix(FOLDER)
        if not path or "://" in path:
            raise PhotosError(f"FACESEARCH_DATASET is {dataset!r}; write the path of a folder behind imagefolder:.")
        return folder_photos(expanded(path))
    if expanded(dataset).is_dir():
        folder = expanded(dataset).resolve()
        data = _load(folder)
        if folder.name == LFW and len(data) == LFW_ON_THE_HUB[0].rows:
            return _dataset_photos(data, (LFW, TITLES[LFW]))
        return _dataset_photos(data, (told_apart(folder.name, f"dataset {folder}"), folder.name), slug(folder.name))
    if dataset == LFW:
        return _lfw_from_hub(report)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", dataset) is None:
        raise PhotosError(
            f"FACESEARCH_DATASET is {dataset!r}, which is neither a folder nor a Hub id like user/name; correct it, or "
            "use imagefolder:PATH for a folder of photos."
        )
    repo, _, revision = dataset.partition("@")
    folder = _fetch(HubDataset(repo, revision or None), report)
    unmistakable = re.fullmatch(r"[a-z0-9]+/[a-z0-9]+", repo)  # a/b-c and a-b/c would both be a-b-c
    name = slug(repo) if unmistakable else told_apart(repo, f"repository {repo}")
    return _dataset_photos(_load(folder), (name, repo), slug(repo))


def _sample() -> Photos:
    """The sample, which is the same in every copy of this package, whenever its files were written."""
    names = SAMPLE.name, TITLES[SAMPLE.name]
    photos = labelled_photos(SAMPLE, names, digest)
    photos.former = labelled_photos(SAMPLE, names)
    return photos


def _lfw_from_hub(report: Report) -> Photos:
    problems: list[str] = []
    for source in LFW_ON_THE_HUB:
        try:
            data = _load(_fetch(source, report))
        except PhotosError as error:
            problems.append(str(error))
            continue
        if len(data) == source.rows:
            return _dataset_photos(data, (LFW, TITLES[LFW]))
        problems.append(f"{source.repo} holds {len(data):,} photos where LFW has {source.rows:,}.")
    raise PhotosError(problems[0])


def _fetch(source: HubDataset, report: Report) -> Path:
    """The dataset's folder in the Hub cache, downloaded if need be; no request is made for a cached revision."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError

    download = partial(snapshot_download, source.repo, repo_type="dataset", revision=source.revision)
    try:
        folder = Path(download(local_files_only=True))
        if any(folder.rglob("*.parquet")) or source.rows is None:
            return folder
    except HFValidationError as error:
        raise PhotosError(
            f"FACESEARCH_DATASET is {source.repo!r}, which the Hub does not allow as an id; correct it, or set "
            "FACESEARCH_DATASET to a local folder."
        ) from error
    except OSError:
        pass  # not cached
    if not reachable():
        raise PhotosError(
            f"{endpoint()} cannot be reached for the dataset {source.repo}; connect, or set FACESEARCH_DATASET to a "
            "local copy of the dataset or to imagefolder:PATH for a folder of your own photos."
        )
    task = f"Downloading {source.repo}"
    report(Progress(task, "B", 0, 0, 0, 0.0))  # what it raises ends this before anything is downloaded
    try:
        return Path(download(tqdm_class=meter(Progress(task, "B", 0, 0, 0, 0.0), report)))
    except Exception as error:  # the errors of whichever HTTP library the Hub's client uses, beside its own
        _check_can_be_written(Path(HF_HUB_CACHE))
        raise PhotosError(
            f"The dataset {source.repo} cannot be downloaded ({type(error).__name__}); check its name and your access, "
            "or set FACESEARCH_DATASET to a local folder."
        ) from error


def _load(folder: Path) -> Dataset:
    import datasets

    try:
        loaded = datasets.load_dataset(str(folder))
    except Exception as error:  # whatever a foreign file makes the loader raise, it is this folder's fault
        _check_can_be_written(Path(datasets.config.HF_DATASETS_CACHE))
        raise PhotosError(
            f"{folder} cannot be read as a dataset ({type(error).__name__}); set FACESEARCH_DATASET to a folder in the "
            "layout of a Hub dataset, or to imagefolder:PATH for a folder of photos."
        ) from error
    splits: dict[str, Dataset] = loaded
    return splits["train"] if "train" in splits else next(iter(splits.values()))


def _check_can_be_written(folder: Path) -> None:
    """PhotosError if what is downloaded, or read of a dataset, cannot be kept, as where a container has no home."""
    try:
        make_folder(folder)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PhotosError(
            f"What is read of a dataset cannot be kept in {folder} ({error.strerror}); set HF_HOME to another."
        ) from error


@contextmanager
def datasets_kept_in(folder: Path) -> Iterator[None]:
    """Has `datasets` keep what it reads in this folder, beside links to what it has kept already."""
    try:
        from datasets import config
    except ImportError:  # then nothing is read either
        yield
        return
    cache, config.HF_DATASETS_CACHE = config.HF_DATASETS_CACHE, folder
    link_folder(cache, folder)
    try:
        yield
    finally:
        config.HF_DATASETS_CACHE = cache


def _dataset_photos(data: Dataset, gallery: tuple[str, str], former_name: str = "") -> Photos:
    """The dataset's photos; `former_name` is what the gallery's folder was called up to version 0.9."""
    import datasets

    features = data.features
    image = next((column for column, kind in features.items() if isinstance(kind, datasets.Image)), None)
    if image is None:
        raise PhotosError(f"The dataset {gallery[1]} has no image column; set FACESEARCH_DATASET to one that has.")
    label = next((column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)), None)
    data = data.cast_column(image, datasets.Image(decode=False))

    def read(row: int) -> bytes | Path:
        stored = data[row][image] or {"bytes": b""}  # a row without a photo is one that cannot be read
        content: bytes | None = stored["bytes"]
        if content is None and stamps[row] == EMPTY:  # its file was not there when the dataset was opened
            return b""
        return content if content is not None else Path(stored["path"] or "")

    # Chunk by chunk: joined, the photos would be copied into memory.
    paths = [path for chunk in data.data.column(image).chunks for path in chunk.field("path").to_pylist()]
    # Columns as Arrow has them: `datasets` gives 13,000 numbers one by one, which takes a tenth of a second.
    columns = data.data.column
    files = [str(file or "") for file in (columns("filename").to_pylist() if "filename" in features else paths)]
    if label is not None:
        names = features[label].names
        people = [
            names[number] if number is not None and 0 <= number < len(names) else UNKNOWN
            for number in columns(label).to_pylist()
        ]
    else:
        people = [_person_in_file_name(file) for file in files]
    ids = _photo_ids(files, people)
    labels = [(photo_id, person.replace("_", " ")) for photo_id, person in zip(ids, people, strict=True)]
    try:
        revised, stamps = _content_revision(data, image, labels)
        photos = Photos(gallery, labels, (revised, stamps), read)
    except OSError as error:
        raise PhotosError(
            f"The photos of {gallery[1]} cannot be read ({error.strerror or error}); see that their drive is there."
        ) from error
    if former_name not in ("", gallery[0], *RESERVED):
        photos.former = Photos((former_name, gallery[1]), labels, (photos.revision, photos.stamps), read)
    return photos


def _person_in_file_name(file: str) -> str:
    """LFW's `Albert_Costa_0001.jpg` is Albert Costa's first photo; any other name stands for itself."""
    return re.sub(r"_\d{4}$", "", Path(file).stem)


def _photo_ids(files: Sequence[str], people: Sequence[str]) -> list[str]:
    """File names without their ending where they are there and unique, else person and count, as LFW names them."""
    stems = [Path(file).stem for file in files]
    if all(stems) and len(set(stems)) == len(stems):
        return stems
    counts: Counter[str] = Counter()
    ids = []
    for person in people:
        counts[person] += 1
        ids.append(f"{person}_{counts[person]:04d}")
    return ids


def _content_revision(data: Dataset, image: str, labels: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """A hash of every byte and name, so that the same photos are the same revision wherever they came from."""
    stamps = []
    for chunk in _chunks(data, image):
        for stored, path in zip(chunk.field("bytes"), chunk.field("path"), strict=True):
            content: bytes | pyarrow.Buffer = b""
            if stored.is_valid:
                content = stored.as_buffer()
            elif path.is_valid and Path(path.as_py()).is_file():  # `datasets` leaves a folder's photos where they are
                content = Path(path.as_py()).read_bytes()
            stamps.append(hashlib.sha256(content).hexdigest())
    return revision(labels, stamps), stamps


def _chunks(data: Dataset, image: str) -> Iterator[pyarrow.StructArray]:
    """The photos' column, read where `datasets` has mapped its file: of that, every page looked at stays in memory."""
    import pyarrow

    if not data.cache_files:
        yield from data.data.column(image).chunks
    for file in data.cache_files:
        with pyarrow.OSFile(file["filename"]) as stream:
            for batch in pyarrow.ipc.open_stream(stream):
                yield batch.column(image)
    pyarrow.default_memory_pool().release_unused()
