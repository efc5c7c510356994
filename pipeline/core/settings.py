"""The environment variables: their meanings, defaults and checks."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.core.errors import SettingsError
from pipeline.core.network import LOCAL, UNLIMITED, Network, Rate, read_network, read_rate, switch
from pipeline.core.types import MILVUS_KINDS

VERSION = "0.9.0"  # of this program
LFW = "lfw"
SAMPLE = Path(__file__).parents[1] / "photos" / "sample"  # composite people, made by `training/sample.py`


def _home() -> Path:
    """The home folder; the folder for temporary files where an account has none, as in a container."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())


DEFAULT_CACHE = _home() / ".cache" / "reverse-face-search"
PERSISTENT = Path("/data")  # the persistent disk of a Hugging Face Space, if it has one
VARIABLES: dict[str, str] = {
    "FACESEARCH_DATASET": (
        "The gallery: a Hub dataset id (`user/name` or `user/name@revision`), a local folder in the layout of one, or "
        "`imagefolder:PATH` for any folder of photos, or `sample` for the people who do not exist in this package. "
        "Default: LFW from the Hub."
    ),
    "FACESEARCH_MODELS": "A folder to look for network weights in before downloading them. Default: none.",
    "FACESEARCH_INDEX": (
        "Where galleries are built. Default: `index`; on a Hugging Face Space with persistent storage, a folder there."
    ),
    "FACESEARCH_INDEX_REPO": (
        "A model repository on the Hub, `user/name` or `user/name@revision`, from which galleries are fetched that are "
        "not built yet; `python -m pipeline publish` fills it. Default: none."
    ),
    "FACESEARCH_CACHE": (
        "Where downloaded weights are kept. Default: `~/.cache/reverse-face-search`; on a Space as for the index."
    ),
    "FACESEARCH_OWN_PHOTOS": (
        "Whether visitors may make galleries of their own photos: `on` or `off`. Default: `on`; on a Hugging Face "
        "Space `off`, because strangers' photos would fill its disk."
    ),
    "FACESEARCH_ON_DEMAND": (
        "Whether a model that is not prepared at the start is prepared when a visitor chooses it: `on` or `off`. "
        "Default: `on`; on a Hugging Face Space `off`, because that takes its processors for up to an hour."
    ),
    "FACESEARCH_MCP": (
        "Whether the page's server has the tool `search_face` for programs that speak MCP: `on` or `off`; needs "
        "`pip install 'mcp>=1.28.1,<3'`. Default: `off`."
    ),
    "FACESEARCH_RATE": (
        "How many searches a minute one visitor may start: a number, or `off`. Default: `off`; on a Hugging Face "
        "Space 60."
    ),
    "FACESEARCH_HOSTS": (
        "Names under which the page is served beside localhost, separated by commas, such as `faces.example.org` where "
        "a proxy on the same computer serves it so. Default: none where it listens on a loopback address, as it does "
        "unless told otherwise; else any."
    ),
    "FACESEARCH_PROXY": (
        "Addresses or networks of proxies in front of the page, separated by commas, such as `127.0.0.1`: visitors' "
        "addresses are then taken from their header `X-Forwarded-For`. Default: none; on a Hugging Face Space its own."
    ),
    "FACESEARCH_ROOT_PATH": (
        "The path below which a proxy serves the page, such as `/faces`; the proxy takes it away. Default: none."
    ),
    "FACESEARCH_TOKENS": (
        "Who may use the server by program: names with their tokens, `name:token`, separated by commas; a token has at "
        "least 16 characters. Default: none."
    ),
    "FACESEARCH_AUTH": ("Who may log in to the page: `user:password`, separated by commas. Default: none."),
    "FACESEARCH_PUBLIC": (
        "Whether strangers may come where there are neither tokens nor a login: `on` or `off`. Default: `off`, so that "
        "only the computer itself is served; on a Hugging Face Space `on`."
    ),
    "FACESEARCH_ORIGINS": (
        "Other sites whose scripts may use the server from a browser (CORS), separated by commas, such as "
        "`https://app.example.org`. Default: none."
    ),
    "FACESEARCH_LOG": (
        "How the page's process logs: `text`, or `json` for one line of JSON for each request and nothing of "
        "libraries. Default: `text`."
    ),
    "FACESEARCH_MILVUS_URI": (
        "Where Milvus keeps its collections: a server such as `http://localhost:19530`, or a `.db` file (or a "
        "folder for one) for the embedded Milvus Lite. Default: a file in each gallery's folder."
    ),
    "FACESEARCH_MILVUS_TOKEN": "The Milvus server's token, `user:password` or an API key. Default: none.",
    "FACESEARCH_MILVUS_INDEX": "How Milvus indexes the vectors: `IVF_FLAT` or `HNSW`. Default: `IVF_FLAT`.",
    "FACESEARCH_FACENET_WEIGHTS": "Your own FaceNet weights (a PyTorch state dict), labelled as such in the page.",
    "FACESEARCH_RESNET50_WEIGHTS": "Your own ResNet-50 weights (a PyTorch state dict), labelled as such in the page.",
}

SECRET = (  # an address may hold a password
    *("FACESEARCH_MILVUS_URI", "FACESEARCH_MILVUS_TOKEN"),
    *("FACESEARCH_TOKENS", "FACESEARCH_AUTH"),
)


@dataclass(frozen=True)
class Milvus:
    """Milvus' address, a server's or a file ending in .db, empty for a file in each gallery's folder.

    `kind` is the type of its index.
    """

    uri: str = field(default="", repr=False)  # may hold a password, like the token
    token: str = field(default="", repr=False)
    kind: str = MILVUS_KINDS[0]


EMBEDDED = Milvus()


@dataclass(frozen=True)
class Settings:
    """Where things are. `custom_weights` maps a network's name to a person's own file for it.

    `index_repo` is empty for none; `zero_gpu` is whether this is a Space on ZeroGPU; `own_photos` whether visitors may
    make galleries of their own; `on_demand` whether choosing a model prepares it; `mcp` whether there is a tool for
    programs that speak MCP.
    """

    dataset: str = LFW
    models: Path | None = None
    index: Path = Path("index")
    cache: Path = DEFAULT_CACHE
    custom_weights: Mapping[str, Path] = field(default_factory=dict)
    milvus: Milvus = EMBEDDED
    index_repo: str = ""
    zero_gpu: bool = False
    own_photos: bool = True
    on_demand: bool = True
    mcp: bool = False
    rate: Rate = UNLIMITED
    network: Network = LOCAL

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the variables; an empty value counts as unset. SettingsError for a value that cannot be used."""
        values = {name: environ.get(name, "").strip() for name in VARIABLES}
        models = _existing(values, "FACESEARCH_MODELS")
        custom = {
            "facenet": _existing(values, "FACESEARCH_FACENET_WEIGHTS"),
            "resnet50": _existing(values, "FACESEARCH_RESNET50_WEIGHTS"),
        }
        on_space = bool(environ.get("SPACE_ID"))
        index, cache = _default_folders(on_space=on_space)
        network = read_network(values, on_space=on_space)
        rate = read_rate(values["FACESEARCH_RATE"], on_space=on_space)
        return cls(
            dataset=values["FACESEARCH_DATASET"] or cls.dataset,
            models=models,
            index=expanded(values["FACESEARCH_INDEX"] or str(index)),
            cache=expanded(values["FACESEARCH_CACHE"] or str(cache)),
            custom_weights={network: path for network, path in custom.items() if path is not None},
            milvus=Milvus(
                _milvus_uri(values["FACESEARCH_MILVUS_URI"]),
                values["FACESEARCH_MILVUS_TOKEN"],
                _milvus_kind(values["FACESEARCH_MILVUS_INDEX"]),
            ),
            index_repo=_repository(values["FACESEARCH_INDEX_REPO"]),
            own_photos=switch(values, "FACESEARCH_OWN_PHOTOS", default=not on_space),
            on_demand=switch(values, "FACESEARCH_ON_DEMAND", default=not on_space),
            mcp=switch(values, "FACESEARCH_MCP", default=False),
            rate=replace(rate, behind_proxy=on_space and not network.proxies),
            network=network,
            zero_gpu=environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"),  # as the package `spaces` does
        )


def expanded(path: str) -> Path:
    """The path with `~` or `~user` replaced by that home folder; SettingsError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{path} begins with a home folder that is not known here; write it out.") from error


def _default_folders(*, on_space: bool) -> tuple[Path, Path]:
    """The default folders of galleries and weights; on a Space those of its persistent disk, if it has one."""
    if on_space and PERSISTENT.is_dir() and os.access(PERSISTENT, os.W_OK):
        return PERSISTENT / "index", PERSISTENT / "cache"
    return Settings.index, Settings.cache


def _repository(value: str) -> str:
    if value and re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", value) is None:
        raise SettingsError(
            f"FACESEARCH_INDEX_REPO is {value!r}, which is no repository of the Hub; write user/name or "
            "user/name@revision."
        )
    return value


def _existing(values: Mapping[str, str], name: str) -> Path | None:
    if not values[name]:
        return None
    path = expanded(values[name])
    if not path.exists():
        raise SettingsError(f"{name} names {values[name]}, which does not exist; correct or unset it.")
    return path


def _milvus_kind(value: str) -> str:
    if value and value not in MILVUS_KINDS:
        raise SettingsError(f"FACESEARCH_MILVUS_INDEX names {value}; choose one of {', '.join(MILVUS_KINDS)}.")
    return value or MILVUS_KINDS[0]


def _milvus_uri(value: str) -> str:
    if not value or "://" in value:
        return value
    if re.fullmatch(r"[\w.-]+:\d+", value):
        raise SettingsError(f"FACESEARCH_MILVUS_URI names {value} without a scheme; write http://{value}.")
    path = expanded(value)
    # Milvus Lite accepts only files that end so.
    return str(path if path.suffix == ".db" else path / "milvus.db")


def values_to_show(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The value of each variable as it may be printed; secrets are not shown."""
    values = {name: environ.get(name, "").strip() for name in VARIABLES}
    return {
        name: "(set, not shown)" if value and name in SECRET else value or "(not set)" for name, value in values.items()
    }


def of_library(variable: str) -> str:
    """The value of a variable that a library reads; empty where it is not set."""
    return os.environ.get(variable, "")


def require_port() -> None:
    """SettingsError if GRADIO_SERVER_PORT is no port; Gradio, which reads it while it is imported, has a traceback."""
    port = of_library("GRADIO_SERVER_PORT")
    if port and not (port.isdecimal() and 0 < int(port) < 2**16):
        raise SettingsError(f"GRADIO_SERVER_PORT is {port!r}; name a port, a number from 1 to 65535.")


def environment_of_child(**more: str) -> dict[str, str]:
    """This process's environment with these variables added, for a child process."""
    return dict(os.environ) | more
