"""The Dockerfile, as far as it can be tried without Docker: its settings, its command and its health check are run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.bench.processes import free_port
from pipeline.core.recipes import MINI
from pipeline.core.settings import SAMPLE, VARIABLES
from tests.network import plain_environment

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "pipeline" / "page" / "Dockerfile").read_text(encoding="utf-8")
ENVIRONMENT = dict(re.findall(r"^ENV (\w+)=(.+)$", DOCKERFILE, re.MULTILINE))
SECONDS = 120


def command(instruction: str) -> list[str]:
    """What an instruction runs."""
    found = re.search(rf"^{instruction}\b[^\[\n]*(\[.+\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    return [sys.executable, *arguments]


def test_it_is_not_root_has_two_volumes_and_copies_what_is_here() -> None:
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^VOLUME /index /cache$", DOCKERFILE, re.MULTILINE)
    assert {ENVIRONMENT[name] for name in ("FACESEARCH_INDEX", "FACESEARCH_CACHE")} == {"/index", "/cache"}
    assert {name for name in ENVIRONMENT if name.startswith("FACESEARCH_")} <= set(VARIABLES)
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    ignored = (ROOT / "pipeline" / "page" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert set(copied) == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / path).exists() for path in copied)
    for package, wanted in re.findall(r"'(torch|torchvision)([^']+)'", DOCKERFILE):
        assert f"\n{package}{wanted}" in (ROOT / "requirements.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_command_serves_the_page_and_its_health_check_says_so(tmp_path: Path) -> None:
    port, folders = str(free_port()), {"/index": tmp_path / "index", "/cache": tmp_path / "cache", "/tmp": tmp_path}
    inside = {name: str(folders.get(value, value)) for name, value in ENVIRONMENT.items() if name != "PATH"}
    environment = plain_environment(tmp_path) | inside | {"GRADIO_SERVER_PORT": port}
    environment |= {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    healthy = command("HEALTHCHECK")
    assert subprocess.run(healthy, env=environment, capture_output=True).returncode == 1, "nothing is there yet"
    with subprocess.Popen(
        command("CMD"), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as page:
        try:
            until = time.monotonic() + SECONDS
            while subprocess.run(healthy, env=environment, capture_output=True).returncode:
                assert page.poll() is None
                assert time.monotonic() < until
                time.sleep(0.5)
        finally:
            page.terminate()
            said, _ = page.communicate(timeout=30)
    assert page.returncode == 0
    lines = [json.loads(line) for line in said.decode().splitlines()]
    assert any(line.get("door") == "health" and line["status"] in (200, 503) for line in lines)


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_named_with_the_variable_that_helps(tmp_path: Path) -> None:
    """A file in place of the home stops every account from writing, root too."""
    photos = tmp_path / "photos" / "train"
    for person in ("Composite 01", "Composite 02"):
        shutil.copytree(SAMPLE / person, photos / person)
    environment = plain_environment(tmp_path) | {"FACESEARCH_DATASET": str(photos.parent)}
    (tmp_path / "file").touch()
    environment["HOME"] = str(tmp_path / "file" / "home")
    for kept in ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "XDG_CACHE_HOME"):
        environment.pop(kept, None)
    build = [sys.executable, "-m", "pipeline", "build", "--recipe", MINI]
    refused = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    kept = tmp_path / "file" / "home" / ".cache" / "huggingface" / "datasets"
    assert re.fullmatch(
        rf"What is read of a dataset cannot be kept in {re.escape(str(kept))} \(.+\); set HF_HOME to another\.\n",
        refused.stderr,
    )
    environment["HF_HOME"] = str(tmp_path / "huggingface")
    built = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith(f"{MINI}: 10 of 10 photos of 2 people indexed")
