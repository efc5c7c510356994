"""The figures on the structure are counted right, on a package of five files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.structure import ROOT, Source, Structure, table

CODE = '''"""The module's docstring,
of two lines."""

import os  # a comment behind code counts as code

# a comment of its own does not


class Thing:
    """A docstring."""

    def method(self):
        """One.

        Of several lines.
        """
        return """a text,

        which is no docstring"""


async def nothing():
    """Nothing but this."""


NAMES = (
    "one",
    # no code
    "two",
)
'''
FILES = {
    "pipeline/__init__.py": "",
    "pipeline/low/__init__.py": "import lazy_loader\n__getattr__ = lazy_loader.attach_stub(__name__, __file__)\n",
    "pipeline/low/__init__.pyi": "from .things import Thing as Thing\nfrom .things import Thing as Other\n",
    "pipeline/low/things.py": "import os\nTHINGS = 1\nclass Thing: ...\n",
    "pipeline/low/more.py": "from .things import THINGS as MANY\nfrom .things import Thing\nfrom json import dumps\n",
    "app.py": "import pipeline.low.more\nimport pipeline.low\nimport numpy\n",
}


@pytest.fixture
def made(tmp_path: Path) -> Structure:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Structure(tmp_path)


def imports_of(made: Structure, tmp_path: Path, text: str) -> set[str]:
    (tmp_path / "pipeline/low/more.py").write_text(text)
    structure = Structure(tmp_path)
    (more,) = [module for module in structure.modules if module.name == "pipeline.low.more"]
    return structure.imports(more)


def test_code_is_what_is_neither_blank_nor_a_comment_nor_a_docstring(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(CODE)
    module = Source("module", tmp_path / "module.py")
    # import, class, def, the text's two lines that are not blank, async def, four lines of the tuple.
    assert module.code == 10
    assert module.lines == len(CODE.splitlines()) == 30


def test_a_packages_own_file_is_no_module(made: Structure) -> None:
    assert [module.name for module in made.modules] == ["pipeline.low.more", "pipeline.low.things", "app"]


@pytest.mark.parametrize(
    "text",
    [
        "import pipeline.low.things",
        "from pipeline.low import things",
        "from . import things",
        "from pipeline.low import Thing",
        "from pipeline.low import Other as Own",
        "from .things import Thing, THINGS",
        "def late():\n    from pipeline.low.things import THINGS",
    ],
)
def test_a_name_counts_for_the_module_that_defines_it(made: Structure, tmp_path: Path, text: str) -> None:
    assert imports_of(made, tmp_path, text) == {"pipeline.low.things"}


@pytest.mark.parametrize(
    "text", ["import os", "from pathlib import Path", "import pipeline.low", "from pipeline.low import more", ""]
)
def test_other_packages_a_packages_own_file_and_itself_do_not_count(made: Structure, tmp_path: Path, text: str) -> None:
    assert imports_of(made, tmp_path, text) == set()


def test_what_a_module_hands_on_is_the_definers(made: Structure) -> None:
    assert made.defining("pipeline.low.more", "Thing") == "pipeline.low.things"
    assert made.defining("pipeline.low.more", "MANY") == "pipeline.low.things"
    assert made.defining("pipeline.low.more", "dumps") == "pipeline.low.more"
    assert made.defining("json", "dumps") == "json.dumps"


def test_the_table(made: Structure) -> None:
    assert table(made)[2:] == [
        "| app | 1 | 3 | 3 | app, 3 | 1.0 |",
        "| pipeline.low | 2 | 6 | 6 | pipeline.low.more, 3 | 0.5 |",
        "| all | 3 | 9 | 9 | pipeline.low.more, 3 | 0.7 |",
    ]


def test_every_module_of_ours_is_in_it() -> None:
    modules = Structure().modules
    assert len(modules) == len([*(ROOT / "pipeline").rglob("*.py")]) + 1 - len([*ROOT.rglob("pipeline/**/__init__.py")])
    assert "app" in {module.name for module in modules}
