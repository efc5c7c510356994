"""Fixtures: the tiny world, and the real photos and weights where the environment names them."""

from __future__ import annotations

import gc
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from pipeline.core.settings import VARIABLES, Settings
from pipeline.core.tables import markdown_table
from pipeline.encoder import layer
from pipeline.encoder.weights import Weights, WeightStore
from pipeline.galleries.gallery import Gallery
from pipeline.indexes import registry
from pipeline.photos.photos import Photos
from pipeline.photos.sources import open_photos
from tests.fakes import TinyEncoders, make_folder, make_people

REAL = Settings.from_env()
MILVUS_TESTS = {
    "tests.lfw.test_held_out",  # its gallery is that of `test_lfw`
    "tests.lfw.test_audit",
    "tests.lfw.test_lfw",
    "tests.search.test_searcher",
    "tests.indexes.test_indexes",
    "tests.indexes.test_milvus",
    "tests.bench.test_indexes",
    "tests.bench.test_scale",
    "tests.galleries.test_removal_milvus",
}
FACES_PER_DIMENSION = layer.FACES_PER_DIMENSION  # before tests lower it
E2E, FAULTS = (Path(__file__).parent / name for name in ("e2e", "faults"))


class Tally:
    """What tests/faults tried, as pipeline/page/README.md has it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.maxima: dict[str, float] = {}

    def add(self, what: str, count: int = 1) -> None:
        """So many more were tried."""
        self.counts[what] += count

    def most(self, what: str, value: float) -> None:
        """The largest there was."""
        self.maxima[what] = max(value, self.maxima.get(what, value))

    def table(self, failures: int) -> list[str]:
        """The table's lines, in Markdown."""
        rows = [*self.counts.items(), *((what, f"{value:,.1f}") for what, value in self.maxima.items())]
        lines = [(what, f"{value:,}" if isinstance(value, int) else value) for what, value in rows]
        return list(markdown_table(("tried", ""), [*lines, ("failures", str(failures))]))


TALLY: pytest.StashKey[Tally] = pytest.StashKey()
LEFT_OUT: pytest.StashKey[int] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--report` is for tests/faults, `--all` for them and tests/lfw, `--float32` for all others."""
    parser.addoption("--all", action="store_true", help="all of LFW, and all faults: an hour, not minutes")
    parser.addoption("--float32", action="store_true", help="calculate as on a processor that has no bf16")
    parser.addoption("--report", action="store_true", help="print what tests/faults tried, as a table in Markdown")


def pytest_configure(config: pytest.Config) -> None:
    """Empty, until tests run."""
    config.stash[TALLY], config.stash[LEFT_OUT] = Tally(), 0
    if config.option.float32:
        import torch

        from pipeline.encoder import networks

        networks.native_precision = lambda: "f32"
        torch.cpu._is_avx512_bf16_supported = lambda: False


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what is slow; tests/faults, which takes minutes, runs only where it is asked for, by path or by `-m`."""
    # Each of these collects its garbage, which takes seconds once thousands of tests have left theirs.
    items.sort(key=lambda item: E2E not in item.path.parents)
    for item in items:
        if item.get_closest_marker("lfw") or {E2E, FAULTS} & set(item.path.parents):
            item.add_marker("slow")
    asked = any(FAULTS in (path := Path(arg.split("::")[0]).resolve(), *path.parents) for arg in config.args)
    if asked or "faults" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if FAULTS in item.path.parents]
    if left_out:
        config.stash[LEFT_OUT] = len(left_out)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


class FilesInOrder(LoadFileScheduling):
    """`--dist loadfile`, but what shares LFW's galleries runs in one process, and browsers come first, as sorted."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "tests/lfw" if file.startswith("tests/lfw/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Ours for `loadfile`, xdist's own else."""
    return FilesInOrder(config, log) if config.option.dist == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what was left out, and prints the table."""
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.write_line(f"{left_out} tests left out: python -m pytest tests/faults --report runs them")
    if config.option.report:
        failures = len(terminalreporter.stats.get("failed", [])) + len(terminalreporter.stats.get("error", []))
        terminalreporter.section("report")
        for line in config.stash[TALLY].table(failures):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def files_go_last(tmp_path: Path) -> None:
    """A test's folder is made before all else, so removed after all else: a page that is closed may be reading it."""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caller's settings by accident; those that want real data ask for `real`."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def ports_of_its_own() -> Iterator[None]:
    """Each of several test processes serves on other ports: Gradio finds a free one first, and takes it later."""
    from gradio import http_server

    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_server, "INITIAL_PORT_VALUE", http_server.INITIAL_PORT_VALUE + 100 * number)
        yield


@pytest.fixture(scope="session")
def imported(ports_of_its_own: None) -> None:
    """What the page imports is out of the garbage collector's sight: to look at it all took 0.8 s after every test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import app  # noqa: F401 - all of the page

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def reduced_however_few() -> Iterator[None]:
    """A PCA is fitted on the handful of faces of the tiny world; what is too few has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer, "FACES_PER_DIMENSION", 0)
        yield


@pytest.fixture
def as_many_faces_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too few for a PCA is refused, as everywhere but in tests."""
    monkeypatch.setattr(layer, "FACES_PER_DIMENSION", FACES_PER_DIMENSION)


@pytest.fixture(autouse=True)
def without_milvus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most machines have no Milvus, and filling its file costs a second a gallery: only tests about it see it."""
    if request.module.__name__ not in MILVUS_TESTS:
        monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "pymilvus" else find_spec(name))


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether `--all` asks for all of LFW in tests/lfw, and for full counts in tests/faults."""
    return bool(pytestconfig.option.all)


@pytest.fixture(scope="session")
def real() -> Settings:
    """Settings with real photos of LFW."""
    if not os.environ.get("FACESEARCH_DATASET") and REAL.dataset == Settings().dataset:
        pytest.skip("needs LFW: set FACESEARCH_DATASET to a copy of it")
    return REAL


@pytest.fixture(scope="session")
def lfw(real: Settings) -> Photos:
    """The real photos."""
    return open_photos(real.dataset)


@pytest.fixture(scope="session")
def reid_weights() -> Weights:
    """The published weights of the smallest network, if they are on this disk; nothing is downloaded for a test."""
    weights = WeightStore(REAL.models, REAL.cache, {}).find("reid")
    if weights is None:
        pytest.skip("needs the weights of face-reidentification-retail-0095: set FACESEARCH_MODELS to their folder")
    return weights


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """The tiny world's photos, freshly drawn."""
    return make_folder(tmp_path / "photos")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Two galleries, one with a layer of its own, of small portraits."""
    folder = tmp_path_factory.mktemp("world")
    gallery = Gallery(f"imagefolder:{make_people(folder / 'photos')}", TinyEncoders(), folder / "index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "find_spec", lambda name: None if name == "pymilvus" else find_spec(name))
        gallery.build(["mtcnn-facenet", "mtcnn-facenet-128"])
    return gallery


@pytest.fixture
def tiny(tiny_folder: Path, tmp_path: Path) -> Gallery:
    """A gallery of the tiny world, nothing built yet."""
    return Gallery(f"imagefolder:{tiny_folder}", TinyEncoders(), tmp_path / "index")
