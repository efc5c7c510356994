"""The README files: the first one is short, and what they all name exists: links, files, commands, settings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.__main__ import _parser
from pipeline.core.recipes import recipe_named
from pipeline.core.settings import VARIABLES

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
READMES = [
    README,
    *sorted(path for top in ("index", "pipeline", "tests") for path in (ROOT / top).rglob("README.md")),
]
MAX_LINES, MAX_WIDTH, MAX_BYTES = 150, 120, 12_000
# Every package that has figures or procedures to tell.
DOCUMENTED = ("bench", "cli", "encoder", "evaluation", "galleries", "indexes", "page", "search", "training")

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r'\]\(([^)\s]+)\)|<img src="([^"]+)"')
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND = re.compile(r"python -m pipeline ([^`#|\n]+)")
MODULE = re.compile(r"python -m ((?:tests|pipeline)\.[\w.]+)")
PYTEST = re.compile(r"python -m pytest (tests/[\w./]+)")
SUFFIXES = (".py", ".pyi", ".md", ".toml", ".js", ".css", ".html")
MADE = ("evaluation.html", "audit.html")  # by a command

in_each = pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))


@cache
def text(readme: Path) -> str:
    return readme.read_text(encoding="utf-8")


def body(readme: Path) -> str:
    """The text below the front matter, which is for the Hub."""
    return re.sub(r"\A---\n.*?\n---\n", "", text(readme), flags=re.DOTALL).strip("\n")


def prose(readme: Path) -> str:
    """The text without blocks of code."""
    return FENCE.sub("", text(readme))


@cache
def anchors(readme: Path) -> frozenset[str]:
    """The names that GitHub gives the headings: words in lower case, without punctuation, joined by hyphens."""
    headings = HEADING.findall(prose(readme))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def links(readme: Path) -> list[str]:
    return [link or picture for link, picture in LINK.findall(CODE.sub("", prose(readme)))]


def is_a_path(code: str) -> bool:
    """Whether a piece of code names a file or folder of the repository, and not one that a command makes."""
    if not re.fullmatch(r"[\w.-][\w./-]*", code) or code in MADE:
        return False
    top, slash, _ = code.partition("/")
    return code.endswith(SUFFIXES) or (bool(slash) and (ROOT / top).exists())


def exists(readme: Path, path: str) -> bool:
    return any((folder / path).exists() for folder in (ROOT, readme.parent))


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    (subparsers,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(subparsers.choices)


def named_commands(readme: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command that is named, with the words behind it."""
    for found in COMMAND.findall(text(readme)):
        name, *words = found.split("&&")[0].split()
        yield name.rstrip(".,;:)"), words


def test_readme_is_read_in_three_minutes() -> None:
    lines = body(README).splitlines()
    assert len(lines) <= MAX_LINES
    assert [line for line in lines if len(line) > MAX_WIDTH] == []
    assert len(README.read_bytes()) <= MAX_BYTES


def test_readme_opens_with_what_it_is_a_picture_and_how_to_start() -> None:
    opening = "\n".join(body(README).splitlines()[:25])
    assert opening.index("<img ") < opening.index("pip install -r requirements.txt && python app.py")
    assert "https://download.pytorch.org/whl/cpu" in opening


@pytest.mark.parametrize("package", DOCUMENTED)
def test_each_of_these_packages_has_a_readme_that_the_first_one_links(package: str) -> None:
    assert (ROOT / "pipeline" / package / "README.md").is_file()
    assert f"pipeline/{package}/README.md" in links(README)


def test_readme_draws_every_package() -> None:
    packages = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    drawn = set(re.findall(r"^  (\w+)/ ", "\n".join(FENCE.findall(text(README))), re.MULTILINE))
    assert drawn == packages


@in_each
def test_links_lead_somewhere(readme: Path) -> None:
    for link in links(readme):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (readme.parent / path).resolve() if path else readme
        assert target.exists(), f"{link} names no file"
        assert target == ROOT or ROOT in target.parents
        if anchor:
            assert anchor in anchors(target), f"{link} names no heading; there are {sorted(anchors(target))}"


@in_each
def test_files_that_are_named_exist(readme: Path) -> None:
    named = {code.rstrip("/") for code in CODE.findall(prose(readme)) if is_a_path(code)}
    assert {path for path in named if not exists(readme, path)} == set()


@in_each
def test_commands_and_their_options_exist(readme: Path) -> None:
    known = commands()
    for name, words in named_commands(readme):
        assert name in known, f"python -m pipeline {name}"
        options = known[name]._option_string_actions
        assert {word for word in words if word.startswith("--") and word not in options} == set(), name
        for at, word in enumerate(words):
            if word in ("--recipe", "--recipes"):
                for recipe in words[at + 1 :]:
                    if recipe.startswith("-") or not re.fullmatch(r"[\w+-]+", recipe):
                        break
                    recipe_named(recipe)


@in_each
def test_tests_and_modules_that_are_named_exist(readme: Path) -> None:
    assert [path for path in PYTEST.findall(text(readme)) if not (ROOT / path).exists()] == []
    assert [name for name in MODULE.findall(text(readme)) if find_spec(name) is None] == []


def test_the_command_line_is_documented() -> None:
    said = {name for name, _ in named_commands(ROOT / "pipeline" / "cli" / "README.md")}
    assert said == set(commands())


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_setting_is_explained_in_one_place(variable: str) -> None:
    rows = [
        readme
        for readme in READMES
        for line in text(readme).splitlines()
        if line.startswith("| `FACESEARCH_") and f"`{variable}`" in line.split("|")[1]
    ]
    assert len(rows) == 1


@in_each
def test_settings_that_are_named_exist(readme: Path) -> None:
    assert set(re.findall(r"FACESEARCH_[A-Z0-9_]+", text(readme))) <= set(VARIABLES)


def test_every_promise_is_a_sentence_of_its_readme_and_has_a_test_that_exists() -> None:
    """The tables of `tests/README.md`: one for each README, a promise and its tests a row."""
    said, promises = "", 0
    for line in text(ROOT / "tests" / "README.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if found := re.fullmatch(r"\[(\S+)\]\(\S+\)", cells[0]):
            said = " ".join(text(ROOT / found[1]).split())
        elif "::" in line:
            sentence, tests = cells
            assert sentence in said
            promises += 1
            for test in CODE.findall(tests):
                path, name = test.split("::")
                assert re.search(rf"^def {name}\(", text(ROOT / "tests" / path), re.MULTILINE), test
    assert promises > 30
