"""Imports go one way, heavy packages stay in the module that is for them, and nothing is loaded unsafely.

Read from the source, so imports inside functions count as well.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in [*sorted((ROOT / "pipeline").rglob("*.py")), ROOT / "app.py"]}
MODULES = sorted(SOURCES)


PACKAGES = sorted(name for name, path in SOURCES.items() if path.name == "__init__.py")
MAX_MODULES, MAX_LINES = 14, 300
# Where these packages may be imported: a module, or a package with all that is in it.
HOMES = {
    "torch": ("pipeline.encoder.torch_networks", "pipeline.training", "pipeline.bench.speed"),
    "torchvision": ("pipeline.encoder.torch_networks",),
    "facenet_pytorch": (
        *("pipeline.encoder.torch_networks", "pipeline.training.mtcnn_weights"),
        "pipeline.bench.parity",
        "pipeline.bench.speed",
    ),
    "openvino": ("pipeline.encoder", "pipeline.training.teacher"),
    "gradio": ("app", "pipeline.page"),
    "annoy": ("pipeline.indexes.annoy",),
    "sklearn": (
        *("pipeline.indexes.kmeans", "pipeline.indexes.knn"),
        *("pipeline.encoder.layer", "pipeline.embeddings.map"),
        *("pipeline.evaluation.audit", "pipeline.evaluation.grouping", "pipeline.evaluation.calibrate"),
    ),
    "safetensors": ("pipeline.encoder", "pipeline.training"),
    "pymilvus": ("pipeline.indexes.milvus", "pipeline.indexes.milvus_connection", "pipeline.indexes.milvus_rows"),
    "milvus_lite": ("pipeline.indexes.milvus_connection",),
    "faiss": ("pipeline.indexes.faiss", "pipeline.indexes.milvus_connection"),
    "grpc": ("pipeline.indexes.milvus", "pipeline.indexes.milvus_connection"),
    "milvus": ("pipeline.bench.milvus_server",),
    "psutil": ("pipeline.bench",),
    "httpx": ("pipeline.bench.visitor",),
    "spaces": ("pipeline.page.server.machine",),
    "mcp": ("pipeline.page.server.mcp",),
    "fastapi": ("pipeline.page.rest",),
    "fastapi_offline": ("pipeline.page.rest.application",),
    "prometheus_client": ("pipeline.page.rest.metrics",),
    "safehttpx": ("pipeline.page.server.guard",),
    "datasets": ("pipeline.photos.sources",),
    "huggingface_hub": ("pipeline.photos.sources", "pipeline.core.hub", "pipeline.embeddings.publish"),
    "pooch": ("pipeline.encoder.weights",),
    "matplotlib": ("pipeline.evaluation.figures",),
}
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Every module imported anywhere in this one; `from pipeline.core import files` is `pipeline.core.files`."""
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


@pytest.mark.parametrize("package", HOMES)
def test_a_package_is_imported_only_where_it_belongs(package: str) -> None:
    importers = {module for module in MODULES if package in {name.split(".")[0] for name in imports(module)}}
    assert {name for name in importers if not any(is_in(name, home) for home in HOMES[package])} == set()
    assert [home for home in HOMES[package] if not any(is_in(name, home) for name in importers)] == []


def is_in(module: str, home: str) -> bool:
    return module == home or module.startswith(f"{home}.")


def test_the_packages_import_downwards_only() -> None:
    done = subprocess.run([LINT_IMPORTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "3 kept, 0 broken" in done.stdout


def test_nothing_below_it_imports_the_app() -> None:
    assert [module for module in MODULES if module != "app" and "app" in imports(module)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_few_modules(package: str) -> None:
    inside = [path for path in SOURCES[package].parent.glob("*.py") if path.name != "__init__.py"]
    assert len(inside) <= MAX_MODULES


def test_no_module_is_long() -> None:
    assert {name: lines for name in MODULES if (lines := len(SOURCES[name].read_text().splitlines())) > MAX_LINES} == {}


@pytest.mark.slow
def test_a_package_hands_out_what_it_names() -> None:
    """Each name is the defining module's, and no module's name: importing that module would take its place."""
    code = """
import importlib, json, sys
packages = {name: importlib.import_module(name) for name in sys.argv[1:]}
print(json.dumps({
    f"{name}.{each}": getattr(getattr(package, each), "__module__", "a value")
    for name, package in packages.items() for each in getattr(package, "__all__", ())
}))
"""
    command = [sys.executable, "-c", code, *PACKAGES]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    wanted = {
        f"{package}.{name.name}": f"{package}.{node.module}"
        for package in PACKAGES
        if (stub := SOURCES[package].with_suffix(".pyi")).exists()
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert set(found) == set(wanted)
    assert not set(wanted) & set(MODULES)
    assert {name: home for name, home in found.items() if home.startswith("pipeline.")}.items() <= wanted.items()


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
    assert used == {
        *("pipeline.embeddings.store", "pipeline.embeddings.map", "pipeline.indexes.kmeans"),
        *("pipeline.encoder.torch_networks", "pipeline.training.augmentation", "pipeline.training.distil"),
    }
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
    assert printing == {"pipeline.__main__", *(name for name in printing if is_in(name, "pipeline.cli"))}


def loaded_by(statement: str, *packages: str) -> set[str]:
    code = f"import sys; {statement}; print(*(set({packages!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_any_package_loads_nothing_heavy() -> None:
    assert loaded_by(f"import {', '.join(PACKAGES)}", *HOMES, "numpy", "PIL") == set()


def test_help_on_the_command_line_needs_nothing_heavy() -> None:
    assert loaded_by("import pipeline.__main__", *HOMES) == set()


SLOW = ("torch", "torchvision", "facenet_pytorch", "matplotlib", "sklearn", "datasets", "annoy", "faiss", "pymilvus")


@pytest.mark.slow
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
