"""The environment is read in one place, defaults hold where it is silent, and a wrong path is one clear sentence."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import settings as settings_module
from pipeline.core.errors import SettingsError
from pipeline.core.network import SPACE_RATE, Rate
from pipeline.core.settings import DEFAULT_CACHE, LFW, VARIABLES, Milvus, Settings

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "pipeline").rglob("*.py"), ROOT / "app.py"])
PATHS = ("FACESEARCH_MODELS", "FACESEARCH_FACENET_WEIGHTS", "FACESEARCH_RESNET50_WEIGHTS")


def test_without_variables_everything_has_its_default() -> None:
    assert Settings.from_env({}) == Settings(LFW, None, Path("index"), DEFAULT_CACHE, {})


@pytest.mark.parametrize("empty", ["", "   ", "\t\n"])
def test_an_empty_value_counts_as_unset(empty: str) -> None:
    assert Settings.from_env(dict.fromkeys(VARIABLES, empty)) == Settings()


def test_every_variable_reaches_its_setting(tmp_path: Path) -> None:
    facenet, resnet = tmp_path / "facenet.pt", tmp_path / "resnet.pth"
    facenet.touch()
    resnet.touch()
    settings = Settings.from_env(
        {
            "FACESEARCH_DATASET": " someone/faces@main ",
            "FACESEARCH_MODELS": str(tmp_path),
            "FACESEARCH_INDEX": "elsewhere",
            "FACESEARCH_INDEX_REPO": "user/galleries@v1",
            "FACESEARCH_CACHE": "cache",
            "FACESEARCH_RATE": "30",
            "FACESEARCH_MILVUS_URI": "http://milvus:19530",
            "FACESEARCH_MILVUS_TOKEN": "someone:secret",
            "FACESEARCH_MILVUS_INDEX": "HNSW",
            "FACESEARCH_FACENET_WEIGHTS": str(facenet),
            "FACESEARCH_RESNET50_WEIGHTS": str(resnet),
        }
    )
    assert settings == Settings(
        "someone/faces@main",
        tmp_path,
        Path("elsewhere"),
        Path("cache"),
        {"facenet": facenet, "resnet50": resnet},
        Milvus("http://milvus:19530", "someone:secret", "HNSW"),
        "user/galleries@v1",
        rate=Rate(30),
    )
    assert "secret" not in repr(settings)


def test_milvus_is_a_server_a_file_or_a_folder_for_one(tmp_path: Path) -> None:
    def uri(value: str) -> str:
        return Settings.from_env({"FACESEARCH_MILVUS_URI": value}).milvus.uri

    assert uri("") == ""
    assert uri("https://someone:secret@milvus:443") == "https://someone:secret@milvus:443"
    assert uri(str(tmp_path / "own.db")) == str(tmp_path / "own.db")
    assert uri(str(tmp_path)) == str(tmp_path / "milvus.db")
    assert uri("~/own.db") == str(Path.home() / "own.db")
    with pytest.raises(SettingsError, match="write http://localhost:19530"):
        uri("localhost:19530")


def test_milvus_index_is_one_of_two() -> None:
    assert Settings.from_env({}).milvus.kind == "IVF_FLAT"
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"FACESEARCH_MILVUS_INDEX": "hnsw"})
    assert str(caught.value) == "FACESEARCH_MILVUS_INDEX names hnsw; choose one of IVF_FLAT, HNSW."


@pytest.mark.parametrize("repo", ["galleries", "a/b/c", "user/name@", "https://huggingface.co/user/name"])
def test_a_repository_has_a_users_name_and_its_own(repo: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"FACESEARCH_INDEX_REPO": repo})
    assert str(caught.value) == (
        f"FACESEARCH_INDEX_REPO is {repo!r}, which is no repository of the Hub; write user/name or user/name@revision."
    )


def test_on_a_space_what_is_built_goes_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folders(**environ: str) -> tuple[Path, Path]:
        settings = Settings.from_env(environ)
        return settings.index, settings.cache

    usual = (Settings.index, Settings.cache)
    monkeypatch.setattr(settings_module, "PERSISTENT", tmp_path / "data")
    assert folders(SPACE_ID="user/space") == usual, "a Space without persistent storage"
    (tmp_path / "data").mkdir()
    assert folders(SPACE_ID="user/space") == (tmp_path / "data" / "index", tmp_path / "data" / "cache")
    assert folders() == usual, "any other machine's /data is not ours"
    assert folders(SPACE_ID="user/space", FACESEARCH_INDEX="mine", FACESEARCH_CACHE="too") == (
        Path("mine"),
        Path("too"),
    )
    monkeypatch.setattr(settings_module.os, "access", lambda path, mode: False)
    assert folders(SPACE_ID="user/space") == usual, "storage that cannot be written to"


def test_zero_gpu_is_what_a_space_says() -> None:
    assert Settings.from_env({"SPACES_ZERO_GPU": "true"}).zero_gpu
    assert not Settings.from_env({"SPACES_ZERO_GPU": ""}).zero_gpu


def test_the_process_environment_is_what_is_read_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESEARCH_DATASET", "someone/faces")
    assert Settings.from_env().dataset == "someone/faces"


@pytest.mark.parametrize("name", ["FACESEARCH_INDEX", "FACESEARCH_CACHE", *PATHS])
def test_a_tilde_is_the_home_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "there").mkdir()
    settings = Settings.from_env({name: "~/there"})
    assert tmp_path / "there" in (settings.models, settings.index, settings.cache, *settings.custom_weights.values())


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_is_not_there_is_named_with_its_variable(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: str(missing)})
    assert str(caught.value) == f"{name} names {missing}, which does not exist; correct or unset it."


@pytest.mark.parametrize("name", ["FACESEARCH_INDEX", "FACESEARCH_CACHE"])
def test_a_folder_that_is_only_written_need_not_exist_yet(name: str, tmp_path: Path) -> None:
    assert tmp_path / "new" in dataclasses.astuple(Settings.from_env({name: str(tmp_path / "new")}))


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().dataset = "other"


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_described_is_read_and_changes_a_setting(name: str, tmp_path: Path) -> None:
    others = {
        "FACESEARCH_MILVUS_INDEX": "HNSW",
        "FACESEARCH_INDEX_REPO": "user/name",
        "FACESEARCH_MCP": "on",
        "FACESEARCH_OWN_PHOTOS": "off",
        "FACESEARCH_ON_DEMAND": "off",
        "FACESEARCH_HOSTS": "faces.example.org",
        "FACESEARCH_PROXY": "127.0.0.1",
        "FACESEARCH_RATE": "30",
        "FACESEARCH_LOG": "json",
        "FACESEARCH_ROOT_PATH": "/faces",
        "FACESEARCH_TOKENS": "ci:0123456789abcdef",
        "FACESEARCH_AUTH": "ann:secret",
        "FACESEARCH_PUBLIC": "on",
        "FACESEARCH_ORIGINS": "https://app.example.org",
    }
    value = others.get(name, str(tmp_path))
    assert Settings.from_env({name: value}) != Settings()
    assert VARIABLES[name].endswith(".")


def mentioned(source: Path) -> Iterator[str]:
    """Whole names of variables in the file; a name put together from parts is judged where it is used."""
    yield from re.findall(r"FACESEARCH_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_{])", source.read_text(encoding="utf-8"))


def test_no_message_names_a_variable_that_does_not_exist() -> None:
    names = {name for source in SOURCES for name in mentioned(source)}
    assert names == set(VARIABLES)


def test_nothing_but_settings_reads_the_environment() -> None:
    readers = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
            if name in ("environ", "getenv", "environb"):
                readers.add(source.name)
    # The others set variables of libraries: where uploads are to lie, no statistics, no telemetry.
    assert readers == {"settings.py", "uploads.py", "machine.py", "telemetry.py"}


@pytest.mark.parametrize(
    ("value", "space", "rate"),
    [
        ("", "", Rate()),
        ("off", "", Rate()),
        ("5", "", Rate(5)),
        ("", "user/page", Rate(SPACE_RATE, behind_proxy=True)),
        ("OFF", "user/page", Rate(0, behind_proxy=True)),
        ("7", "user/page", Rate(7, behind_proxy=True)),
    ],
)
def test_the_rate_is_unlimited_unless_it_is_set_or_on_a_space(value: str, space: str, rate: Rate) -> None:
    assert Settings.from_env({"FACESEARCH_RATE": value, "SPACE_ID": space}).rate == rate


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "1e3", "9999999", "٣"])
def test_a_rate_that_is_none_is_one_sentence(value: str) -> None:
    with pytest.raises(SettingsError, match=r"FACESEARCH_RATE is .*; write off, or a whole number"):
        Settings.from_env({"FACESEARCH_RATE": value})


def test_an_account_without_a_home_can_run_it(tmp_path: Path) -> None:
    """As in a container that is started as a number which no account has."""
    code = """
import os, pwd, sys
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody
import pipeline.core.settings as settings
from pipeline.core.errors import SettingsError
print(settings.Settings.from_env({}).cache)
for variable in ("FACESEARCH_INDEX", "FACESEARCH_CACHE"):
    try:
        settings.Settings.from_env({variable: "~/there"})
    except SettingsError as error:
        print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    said = "~/there begins with a home folder that is not known here; write it out."
    assert (done.stderr, done.stdout.splitlines()) == ("", [f"{tmp_path}/.cache/reverse-face-search", said, said])


def test_only_named_proxies_are_believed_and_on_a_space_its_own() -> None:
    def read(**environ: str) -> tuple[bool, tuple[str, ...]]:
        settings = Settings.from_env(environ)
        return settings.rate.behind_proxy, settings.network.proxies

    assert read() == (False, ())
    assert read(FACESEARCH_PROXY=" 127.0.0.1, 10.1.2.3/8,::1 ") == (False, ("127.0.0.1/32", "10.0.0.0/8", "::1/128"))
    assert read(SPACE_ID="user/page") == (True, ())
    assert read(SPACE_ID="user/page", FACESEARCH_PROXY="10.0.0.1") == (False, ("10.0.0.1/32",))


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.0/33", "1.2.3"])
def test_a_proxy_that_is_no_address_is_one_sentence(value: str) -> None:
    with pytest.raises(SettingsError, match=r"FACESEARCH_PROXY is .*; write addresses or networks"):
        Settings.from_env({"FACESEARCH_PROXY": value})


def test_the_names_of_the_page() -> None:
    def names(value: str) -> tuple[str, ...]:
        return Settings.from_env({"FACESEARCH_HOSTS": value}).network.hosts

    assert names("") == ()
    assert names(" Faces.example.org,nas ,192.168.1.7,[2001:DB8::1]") == (
        "faces.example.org",
        "nas",
        "192.168.1.7",
        "2001:db8::1",
    )
    for wrong in ("https://a.example", "a.example:7860", "*", "a b"):
        with pytest.raises(SettingsError, match=r"FACESEARCH_HOSTS names .*; write names alone"):
            names(wrong)
