"""The weight store: a user's own file, a local folder, the cache, last a pinned URL. Hashes are always checked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests

from pipeline.core.errors import WeightsError
from pipeline.core.files import check_packaged, digest_once
from pipeline.core.progress import Progress, Report

CONNECT_SECONDS = 5
READ_SECONDS = 30
HEAD_NOT_ALLOWED = (405, 501)  # statuses of hosts that have the file but do not support HEAD requests


@dataclass(frozen=True)
class WeightFile:
    """One file of weights: its URL, its pinned hash as `algorithm:hexdigest`, and its folder below the cache."""

    url: str
    hash: str
    folder: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]

    @property
    def host(self) -> str:
        """The host it is downloaded from."""
        return urlsplit(self.url).netloc

    def matches(self, path: Path) -> bool:
        """Whether the file at `path` is this one, byte for byte."""
        algorithm, expected = self.hash.split(":")
        return digest_once(path, algorithm) == expected


_OMZ = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1"
_REID = "face-reidentification-retail-0095"
WEIGHT_FILES: dict[str, tuple[WeightFile, ...]] = {
    # timesler/facenet-pytorch, release v2.2.9, 111,898,327 bytes
    "facenet": (
        WeightFile(
            "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
            "sha256:281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        ),
    ),
    # torchvision's ResNet50_Weights.IMAGENET1K_V1, 102,530,333 bytes. V1, as in the projects this is compared with.
    "resnet50": (
        WeightFile(
            "https://download.pytorch.org/models/resnet50-0676ba61.pth",
            "sha256:0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        ),
    ),
    # Open Model Zoo 2023.0, Apache-2.0, 2.6 MB
    "reid": (
        WeightFile(
            f"{_OMZ}/{_REID}/FP16/{_REID}.xml",
            "sha384:689fb39e94bbd0d22cfeeb9292d0b91ac753424a7ee2c0555070e4038a00bfcaad473b47303012b9a393027dbad0dbce",
            f"{_REID}/FP16",
        ),
        WeightFile(
            f"{_OMZ}/{_REID}/FP16/{_REID}.bin",
            "sha384:6d51703e854509dafdab9dfc6b932136d301d95be6d52c9c23b5a4f5de1ffec80e8d38b87e0e9556ad36f0dded1588ed",
            f"{_REID}/FP16",
        ),
    ),
}


# Trained by this project (`distil.py`) and part of this package. After a new training its hash belongs here.
PACKAGED = {"mini": Path(__file__).parent / "mini.safetensors"}
PACKAGED_SHA256 = {"mini": "9229f2b6d9496233d81e6fc8d9c9eb2f35875e3a9eb84fb10cc4d01c61fe048a"}


@dataclass(frozen=True)
class Weights:
    """A network's weights on this disk, checked. `sha256` covers all `paths`; `custom`: a user's own file."""

    network: str
    paths: tuple[Path, ...]
    sha256: str
    custom: bool


class WeightStore:
    """Finds weights on this disk, or downloads them once."""

    def __init__(self, models: Path | None, cache: Path, custom: Mapping[str, Path]) -> None:
        """`models` is a folder that is only read, `cache` one that is written; `custom` maps networks to files."""
        self._models = models
        self._cache = cache
        self._custom = custom

    def find(self, network: str) -> Weights | None:
        """The network's weights if they are on this disk; WeightsError if a file there has the wrong hash."""
        if network in self._custom:
            return _weights(network, (self._custom[network],), custom=True)
        if network in PACKAGED:
            return _packaged(network)
        files = WEIGHT_FILES[network]
        # All of them from one place: OpenVINO looks for the .bin beside the .xml.
        for place in zip(*(self._places(wanted) for wanted in files), strict=True):
            paths = tuple(path for path in place if path is not None)
            if len(paths) == len(files):
                return _weights(network, paths, custom=False)
        return None

    def get(self, network: str, report: Report) -> Weights:
        """The network's weights, downloaded if need be: written aside, checked, then renamed into the cache."""
        if (weights := self.find(network)) is not None:
            return weights
        for wanted in WEIGHT_FILES[network]:
            if self._cached(wanted) is None:
                self._download(network, wanted, report)
        return _weights(
            network, tuple(self._cache / wanted.folder / wanted.name for wanted in WEIGHT_FILES[network]), custom=False
        )

    def graph_folder(self, weights: Weights) -> Path:
        """The folder that keeps the graph made of these weights (`networks.graph_in`)."""
        return self._cache / "graphs" / f"{weights.network}-{weights.sha256[:20]}"

    def head_path(self, recipe: str) -> Path:
        """The file that a recipe's trained head is written to."""
        return self._cache / f"{recipe}.safetensors"

    def heads(self, recipe: str) -> list[Path]:
        """The files with a trained head of the recipe: in FACESEARCH_MODELS, then the one written here."""
        folders = [folder for folder in (self._models, self._cache) if folder is not None]
        return [path for folder in folders if (path := folder / f"{recipe}.safetensors").is_file()]

    def why_unavailable(self, network: str) -> str | None:
        """One sentence if the weights are neither here nor downloadable, else None. Asks the host, for 5 s at most."""
        try:
            if self.find(network) is None:
                wanted = WEIGHT_FILES[network][0]
                answer = requests.head(wanted.url, timeout=CONNECT_SECONDS, allow_redirects=False)
                if answer.status_code >= 400 and answer.status_code not in HEAD_NOT_ALLOWED:
                    return str(_refused(wanted, answer.status_code))
        except WeightsError as error:
            return str(error)
        except requests.RequestException:
            return str(_unreachable(network, WEIGHT_FILES[network][0]))
        return None

    def _places(self, wanted: WeightFile) -> Iterator[Path | None]:
        """The file in each place where it may be; None where it is missing."""
        if self._models is not None:
            for path in (self._models / wanted.folder / wanted.name, self._models / wanted.name):
                if path.is_file() and not wanted.matches(path):
                    raise WeightsError(
                        f"{path} is not the published {wanted.name} (its hash differs); replace it with the file "
                        f"from {wanted.url}, or unset FACESEARCH_MODELS."
                    )
                yield path if path.is_file() else None
        yield self._cached(wanted)

    def _cached(self, wanted: WeightFile) -> Path | None:
        path = self._cache / wanted.folder / wanted.name
        # A damaged file in the cache counts as absent: it is downloaded again.
        return path if path.is_file() and wanted.matches(path) else None

    def _download(self, network: str, wanted: WeightFile, report: Report) -> None:
        pooch.get_logger().setLevel("WARNING")  # the progress says it already
        meter = _DownloadMeter(f"Downloading {wanted.name}", report)
        downloader = pooch.HTTPDownloader(
            progressbar=meter, chunk_size=1 << 16, timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
        try:
            pooch.retrieve(wanted.url, wanted.hash, wanted.name, self._cache / wanted.folder, downloader=downloader)
        except requests.HTTPError as error:
            raise _refused(wanted, error.response.status_code) from error
        except requests.RequestException as error:
            raise _unreachable(network, wanted) from error
        except ValueError as error:  # pooch: the hash differs; its temporary file is gone already
            raise WeightsError(
                f"What {wanted.host} sent is not the published {wanted.name} (its hash differs) and was thrown away; "
                "try again, and if it stays so, a proxy on the way answers in its place."
            ) from error
        except OSError as error:
            raise WeightsError(
                f"{wanted.name} could not be written to {self._cache} ({error.strerror or error}); make room there or "
                "set FACESEARCH_CACHE to another folder."
            ) from error


def _packaged(network: str) -> Weights:
    path = PACKAGED[network]
    if path.is_file():  # the error of a missing file is more specific below
        check_packaged(path, PACKAGED_SHA256[network])
    return _weights(network, (path,), custom=False)


def _weights(network: str, paths: tuple[Path, ...], *, custom: bool) -> Weights:
    combined = hashlib.sha256()
    for path in paths:
        try:
            combined.update(digest_once(path).encode())
        except OSError as error:
            raise WeightsError(f"The {network} weights {path} cannot be read: {error.strerror}.") from error
    return Weights(network, paths, combined.hexdigest(), custom)


def misfit(weights: Weights) -> WeightsError:
    """The error for a file that does not hold the network's weights."""
    return WeightsError(
        f"{weights.paths[0]} does not hold weights of the network {weights.network}; give a PyTorch state dict of it."
    )


def _refused(wanted: WeightFile, status: int) -> WeightsError:
    return WeightsError(
        f"{wanted.host} answers {status} for {wanted.name}; try again later, or put the file into a folder named by "
        "FACESEARCH_MODELS."
    )


def _unreachable(network: str, wanted: WeightFile) -> WeightsError:
    own = f", or set FACESEARCH_{network.upper()}_WEIGHTS to your own file" if network != "reid" else ""
    return WeightsError(
        f"{wanted.host} cannot be reached for the {network} weights; put {wanted.name} into a folder named by "
        f"FACESEARCH_MODELS{own}."
    )


class _DownloadMeter:
    """A progress bar for pooch (`total`, `update`, `reset`, `close`) that reports our Progress."""

    total = 0

    def __init__(self, task: str, report: Report) -> None:
        self._task = task
        self._report = report
        self._done = 0
        self._started = time.perf_counter()

    def update(self, size: int) -> None:
        # pooch reports a full chunk for the last one too; without a Content-Length the total is 0.
        self._done = min(self._done + size, int(self.total) or self._done + size)
        seconds = time.perf_counter() - self._started
        self._report(Progress(self._task, "B", self._done, int(self.total), self._done, seconds))

    def reset(self) -> None:
        pass  # pooch winds the bar back at the end, only to fill it in one step

    def close(self) -> None:
        pass
