"""Imports go one way, heavy packages stay in the module that is for them, and nothing is loaded unsafely.

Read from the source, so imports inside functions count as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
    (
        "pipeline.core.errors",
        "pipeline.core.types",
        "pipeline.core.types",
        "pipeline.core.settings",
        "pipeline.evaluation.metrics",
    ),
    (
        "pipeline.core.geometry",
        "pipeline.photos.sources",
        "pipeline.embeddings.map",
        "pipeline.core.recipes",
        "pipeline.core.files",
        "pipeline.evaluation.figures",
        "pipeline.evaluation.tables",
        "pipeline.encoder.integral",
        "pipeline.encoder.graphs",
        "pipeline.encoder.graphs",
        "pipeline.bench.processes",
        "pipeline.bench.results",
        "pipeline.core.hub",
        "pipeline.search.journal",
        "pipeline.bench.visitor",
    ),
    (
        "pipeline.encoder.cascade",
        "pipeline.encoder.mini",
        "pipeline.encoder.cascade",
        "pipeline.training.mtcnn_weights",
        "pipeline.bench.processes",
    ),
    ("pipeline.encoder.mtcnn", "pipeline.training.mini_net", "pipeline.encoder.networks"),
    (
        "pipeline.photos.images",
        "pipeline.photos.sources",
        "pipeline.encoder.weights",
        "pipeline.encoder.faces",
        "pipeline.encoder.networks",
        "pipeline.encoder.torch_networks",
        "pipeline.training.teacher",
        "pipeline.encoder.layer",
        "pipeline.embeddings.store",
        "pipeline.indexes.registry",
        "pipeline.indexes.exact",
        "pipeline.indexes.annoy",
        "pipeline.indexes.knn",
        "pipeline.indexes.kmeans",
        "pipeline.indexes.milvus",
        "pipeline.indexes.milvus_connection",
        "pipeline.indexes.milvus_rows",
        "pipeline.indexes.recall",
        "pipeline.bench.milvus_server",
        "pipeline.search.calibration",
    ),
    (
        "pipeline.encoder.encoder",
        "pipeline.embeddings.map",
        "pipeline.photos.pictures",
        "pipeline.galleries.uploads",
        "pipeline.evaluation.pairs",
        "pipeline.evaluation.groups",
        "pipeline.photos.pictures",
        "pipeline.core.hub",
        "pipeline.evaluation.ranking",
        "pipeline.evaluation.report",
    ),
    (
        "pipeline.evaluation.calibrate",
        "pipeline.training.sample",
        "pipeline.evaluation.evaluate",
        "pipeline.embeddings.embed",
        "pipeline.encoder.encoder",
        "pipeline.training.heads",
        "pipeline.training.augmentation",
    ),
    (
        "pipeline.embeddings.build",
        "pipeline.search.searcher",
        "pipeline.bench.indexes",
        "pipeline.bench.scale",
        "pipeline.bench.speed",
        "pipeline.evaluation.protocols",
        "pipeline.evaluation.verification",
        "pipeline.evaluation.groups",
        "pipeline.evaluation.calibrate",
        "pipeline.training.distil",
    ),
    (
        "pipeline.embeddings.fetch",
        "pipeline.training.distil",
        "pipeline.bench.scale",
        "pipeline.bench.serving",
        "pipeline.bench.parity",
    ),
    ("pipeline.galleries.gallery", "pipeline.evaluation.evaluate", "pipeline.search.explain"),
    (
        "pipeline.galleries.preparation",
        "pipeline.galleries.reports",
        "pipeline.embeddings.publish",
        "pipeline.search.explain",
        "pipeline.cli.doctor",
    ),
    ("pipeline.galleries.own_gallery",),
    ("pipeline.galleries.own_galleries",),
    ("pipeline.galleries.galleries",),
    (
        "pipeline.page.html.wording",
        "pipeline.page.tabs.evaluation",
        "pipeline.search.comparison",
        "pipeline.page.server.mcp",
        "pipeline.search.hints",
        "pipeline.page.html.downloads",
    ),
    ("pipeline.page.html.grid", "pipeline.page.html.why", "pipeline.page.html.map", "pipeline.page.html.wording"),
    ("pipeline.page.html.grid", "pipeline.page.server.live"),
    (
        "pipeline.page.parts",
        "pipeline.page.server.machine",
        "pipeline.page.server.guard",
        "pipeline.page.server.uploads",
        "pipeline.page.server.machine",
    ),
    ("pipeline.page.tabs.search", "pipeline.page.server.rate"),
    ("pipeline.page.tabs.search",),
    (
        "pipeline.page.tabs.explore",
        "pipeline.page.tabs.explore",
        "pipeline.page.tabs.preparing",
        "pipeline.page.server.endpoints",
    ),
    (
        "pipeline.page.tabs.compare",
        "pipeline.page.tabs.map",
        "pipeline.page.tabs.own_photos",
        "pipeline.page.tabs.live",
        "pipeline.page.server.mcp",
    ),
    ("pipeline.cli.search",),
    ("pipeline.cli.measure", "pipeline.cli.train"),
    ("app", "pipeline.__main__"),
)
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
# The imports within one layer that are allowed, each for its reason.
SIDEWAYS = {
    ("pipeline.core.settings", "pipeline.core.errors"),  # a wrong value is an error
    ("pipeline.core.settings", "pipeline.core.types"),  # the kinds of Milvus' index
    ("pipeline.core.types", "pipeline.core.types"),  # what a hit says
    ("pipeline.evaluation.ranking", "pipeline.evaluation.pairs"),  # whose distances it takes
    ("pipeline.bench.scale", "pipeline.bench.indexes"),  # times searches alike
    ("pipeline.encoder.networks", "pipeline.encoder.weights"),  # opens what the store found
    ("pipeline.encoder.torch_networks", "pipeline.encoder.weights"),
    ("pipeline.encoder.networks", "pipeline.encoder.torch_networks"),  # once one of them is asked for
    ("pipeline.embeddings.store", "pipeline.encoder.layer"),  # keeps the layer that was fitted on it
    ("pipeline.indexes.recall", "pipeline.indexes.exact"),  # the truth an index is held against
    ("pipeline.indexes.annoy", "pipeline.indexes.recall"),
    ("pipeline.indexes.kmeans", "pipeline.indexes.recall"),
    ("pipeline.indexes.milvus", "pipeline.indexes.recall"),
    ("pipeline.indexes.milvus", "pipeline.indexes.milvus_rows"),
    ("pipeline.indexes.milvus", "pipeline.indexes.milvus_connection"),
    ("pipeline.indexes.milvus_rows", "pipeline.indexes.milvus_connection"),
    ("pipeline.indexes.registry", "pipeline.indexes.milvus"),
    ("pipeline.indexes.registry", "pipeline.indexes.milvus_connection"),
    ("pipeline.indexes.registry", "pipeline.indexes.knn"),
    ("pipeline.indexes.registry", "pipeline.indexes.kmeans"),
    ("pipeline.indexes.registry", "pipeline.indexes.exact"),
    ("pipeline.indexes.registry", "pipeline.indexes.annoy"),
}
PAGE = {name for layer in LAYERS for name in layer if name.startswith("pipeline.page.")}
# The only modules that may import these packages.
HOMES = {
    "torch": {f"pipeline.{name}" for name in ("mini_net", "teacher", "torch_networks", "heads", "distil", "speed")},
    "torchvision": {"pipeline.encoder.torch_networks"},
    "facenet_pytorch": {
        "pipeline.training.mtcnn_weights",
        "pipeline.encoder.torch_networks",
        "pipeline.bench.speed",
        "pipeline.bench.parity",
    },
    "openvino": {
        f"pipeline.{name}"
        for name in (
            *("networks", "cascade", "suppression", "graph", "inference", "mini", "teacher"),
            *("converted", "torch_networks"),
        )
    },
    "gradio": {"app", *PAGE - {"pipeline.page.server.machine"}},
    "annoy": {"pipeline.indexes.annoy"},
    "sklearn": {
        "pipeline.indexes.kmeans",
        "pipeline.indexes.knn",
        "pipeline.encoder.layer",
        "pipeline.embeddings.map",
    },
    "safetensors": {
        "pipeline.encoder.layer",
        "pipeline.encoder.graphs",
        "pipeline.training.mini_net",
        "pipeline.training.mtcnn_weights",
    },
    "pymilvus": {f"pipeline.indexes.milvus{part}" for part in ("", "_connection", "_rows")},
    "milvus_lite": {"pipeline.indexes.milvus_connection"},
    "grpc": {"pipeline.indexes.milvus", "pipeline.indexes.milvus_connection"},
    "milvus": {"pipeline.bench.milvus_server"},
    "psutil": {"pipeline.bench.scale", "pipeline.bench.processes"},
    "httpx": {"pipeline.bench.visitor"},
    "spaces": {"pipeline.page.server.machine"},
    "mcp": {"pipeline.page.server.mcp"},
    "safehttpx": {"pipeline.page.server.guard"},
    "datasets": {"pipeline.photos.sources"},
    "huggingface_hub": {
        "pipeline.photos.sources",
        "pipeline.core.hub",
        "pipeline.embeddings.publish",
    },
    "pooch": {"pipeline.encoder.weights"},
    "matplotlib": {"pipeline.evaluation.figures"},
}
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in [*sorted((ROOT / "pipeline").rglob("*.py")), ROOT / "app.py"]}
MODULES = sorted(SOURCES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Every module imported anywhere in this one; `from pipeline import wording` is `pipeline.page.html.wording`."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports here name the whole module"
            assert node.module is not None
            inside = {f"{node.module}.{name.name}" for name in node.names} & set(SOURCES)
            found |= inside or {node.module}
    return frozenset(found)


def calls(module: str, *names: str) -> Iterator[ast.Call]:
    """Calls of these functions, written as `name` or `package.name`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node


def argument(call: ast.Call, name: str) -> object:
    found = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def test_every_module_is_in_the_table_and_every_row_is_a_module() -> None:
    assert set(SOURCES) - {"pipeline", "pipeline.page"} == set(LAYER)
    assert imports("pipeline") == frozenset()


@pytest.mark.parametrize("module", LAYER)
def test_imports_go_downwards_only(module: str) -> None:
    ours = {name for name in imports(module) if name.split(".")[0] in ("pipeline", "app")}
    assert ours <= set(LAYER), "imports a name that is no module"
    wrong = {name for name in ours if LAYER[name] >= LAYER[module] and (module, name) not in SIDEWAYS}
    assert wrong == set()


def test_every_exception_to_the_table_is_needed() -> None:
    assert {pair for pair in SIDEWAYS if pair[1] not in imports(pair[0])} == set()


@pytest.mark.parametrize("package", HOMES)
def test_a_package_is_imported_only_where_it_belongs(package: str) -> None:
    importers = {module for module in MODULES if package in {name.split(".")[0] for name in imports(module)}}
    assert importers <= HOMES[package]
    assert importers, f"nothing imports {package} any more"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_can_run_code_out_of_a_data_file(module: str) -> None:
    assert {name for name in imports(module) if name.split(".")[0] in UNSAFE} == set()
    assert [
        call.lineno for call in calls(module, "np.load", "numpy.load") if argument(call, "allow_pickle") is not False
    ] == []
    assert [call.lineno for call in calls(module, "torch.load") if argument(call, "weights_only") is not True] == []
    assert list(calls(module, "eval", "exec", "__import__", "importlib.import_module")) == []


def test_the_loaders_held_above_are_really_used() -> None:
    used = {module for module in MODULES if list(calls(module, "np.load", "torch.load"))}
    loaders = ("gallery", "gallery_map", "indexes.kmeans", "torch_networks", "views", "distil")
    assert used == {f"pipeline.{name}" for name in loaders}
    # Under another name they would escape.
    names = {
        (node.module, name.name)
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert names & {("numpy", "load"), ("torch", "load")} == set()


def test_only_the_command_line_prints() -> None:
    printing = {module for module in MODULES if list(calls(module, "print"))}
    assert printing == {"pipeline.__main__", "pipeline.cli.search", "pipeline.cli.measure", "pipeline.cli.train"}


def loaded_by(statement: str, *packages: str) -> set[str]:
    code = f"import sys; {statement}; print(*(set({packages!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import pipeline", *HOMES, "numpy", "PIL") == set()


def test_help_on_the_command_line_needs_nothing_heavy() -> None:
    assert loaded_by("import pipeline.__main__", *HOMES) == set()


SLOW = ("torch", "torchvision", "facenet_pytorch", "matplotlib", "sklearn", "datasets", "annoy", "pymilvus")


def test_the_page_is_up_before_anything_that_it_may_never_need() -> None:
    assert loaded_by("import app", *SLOW) == set()


def test_a_face_becomes_a_vector_without_torch() -> None:
    statement = (
        "from pathlib import Path; from PIL import Image; from pipeline.encoder.encoder import StoredEncoders; "
        "from pipeline.encoder.weights import WeightStore; from pipeline.photos.images import open_image; "
        "encoder = StoredEncoders(WeightStore(None, Path('nowhere'), {})).get('mtcnn-mini'); "
        "photo = next(Path('pipeline/photos/sample').rglob('*.jpg')); "
        "(encoded,) = encoder.encode([open_image(photo)]); assert encoded.vector is not None"
    )
    assert loaded_by(statement, *SLOW) == set()
