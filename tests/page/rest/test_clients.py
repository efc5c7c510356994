"""The README's examples, as they stand there, against a running page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import PEOPLE, portrait

README = Path(__file__).parents[3] / "pipeline" / "page" / "rest" / "README.md"
EXAMPLES = re.findall(r"^```(sh|python|js)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:7860"
SECONDS = 60


def command(language: str, code: str) -> list[str]:
    """How the example is run."""
    programs = {"sh": "curl", "js": "node", "python": sys.executable}
    if shutil.which(programs[language]) is None:
        pytest.skip(f"needs {programs[language]}")
    inside = f"(async () => {{ {code} }})()"  # `await` needs a function outside of modules
    return {
        "sh": ["sh", "-c", code],
        "js": ["node", "-e", inside],
        "python": [sys.executable, "-W", "ignore", "-c", code],
    }[language]


def test_there_is_one_for_each_kind_of_client() -> None:
    assert sorted(language for language, _ in EXAMPLES) == ["js", "python", "python", "sh"]


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=["curl", "requests", "fetch", "gradio_client"])
def test_an_example_finds_who_it_is(language: str, code: str, url: str, tmp_path: Path) -> None:
    portrait(4, 2).save(tmp_path / "photo.jpg", quality=95)
    ours = code.replace(ADDRESS, url)
    assert ADDRESS in code
    done = subprocess.run(command(language, ours), cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    named = re.search("|".join(PEOPLE), done.stdout)
    assert named and named[0] == "Elif"
