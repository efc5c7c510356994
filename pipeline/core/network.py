"""How others reach the server, and who they may be: a part of the settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from pipeline.core.errors import SettingsError

SPACE_RATE = 60  # faster than anybody clicks


@dataclass(frozen=True)
class Rate:
    """How many searches one visitor may start in a minute; 0 for any number."""

    a_minute: int = 0
    behind_proxy: bool = False  # a Space's own, whose address is not known: its last word names the visitor


UNLIMITED = Rate()


MIN_TOKEN = 16  # characters


def digest_of(secret: str) -> bytes:
    """What is kept of a token or a password."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True)
class Access:
    """Who may come: digests of `tokens` by name, and of passwords by user (`logins`); `public` for everybody else."""

    tokens: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    logins: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    public: bool = False


@dataclass(frozen=True)
class Network:
    """How others reach the server.

    Attributes:
        hosts: its names beside localhost.
        proxies: addresses or networks of trusted proxies.
        access: who they may be.
        origins: sites whose scripts may read answers.
        root_path: the path below which a proxy serves the page; empty for none.
        json_log: whether each request is a line of JSON in the log.
    """

    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    access: Access = Access()
    origins: tuple[str, ...] = ()
    root_path: str = ""
    json_log: bool = False


LOCAL = Network()


def read_network(values: Mapping[str, str], *, on_space: bool) -> Network:
    """That of the variables, stripped and with an empty text for what is unset."""
    return Network(
        hosts=_hosts(values["FACESEARCH_HOSTS"]),
        proxies=_proxies(values["FACESEARCH_PROXY"]),
        access=Access(
            tokens=_secrets(values, "FACESEARCH_TOKENS", MIN_TOKEN),
            logins=_secrets(values, "FACESEARCH_AUTH", 1),
            public=switch(values, "FACESEARCH_PUBLIC", default=on_space),
        ),
        origins=_origins(values["FACESEARCH_ORIGINS"]),
        root_path=_root_path(values["FACESEARCH_ROOT_PATH"]),
        json_log=one_of(values, "FACESEARCH_LOG", ("text", "json")) == "json",
    )


def one_of(values: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The value if it is one of these, of which the first is the default."""
    value = values[name].lower() or choices[0]
    if value not in choices:
        raise SettingsError(f"{name} is {values[name]!r}; write {' or '.join(choices)}.")
    return value


def switch(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Whether it is on."""
    return default if not values[name] else one_of(values, name, ("on", "off")) == "on"


def _hosts(value: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower().strip("[]") for name in value.split(",") if name.strip())
    if wrong := [name for name in names if re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", name) is None]:
        raise SettingsError(f"FACESEARCH_HOSTS names {wrong[0]!r}; write names alone, such as faces.example.org.")
    return names


def _proxies(value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(each.strip(), strict=False)) for each in value.split(",") if each.strip())
    except ValueError as error:
        raise SettingsError(
            f"FACESEARCH_PROXY is {value!r}; write addresses or networks, such as 127.0.0.1 or 10.0.0.0/8."
        ) from error


def _secrets(values: Mapping[str, str], name: str, least: int) -> dict[str, bytes]:
    """The digests of secrets by the names before them; the error repeats neither."""
    pairs = [each.strip().partition(":") for each in values[name].split(",") if each.strip()]
    if any(not who or len(secret) < least for who, _, secret in pairs):
        length = f", each secret of at least {least} characters" if least > 1 else ""
        raise SettingsError(f"{name} cannot be read; write name:secret, separated by commas{length}.")
    return {who: digest_of(secret) for who, _, secret in pairs}


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(each.strip().lower().rstrip("/") for each in value.split(",") if each.strip())
    if wrong := [each for each in origins if re.fullmatch(r"https?://[\w.-]+(:\d+)?", each, re.ASCII) is None]:
        raise SettingsError(f"FACESEARCH_ORIGINS names {wrong[0]!r}; write origins such as https://app.example.org.")
    return origins


def _root_path(value: str) -> str:
    path = value.rstrip("/")
    if path and re.fullmatch(r"(/[\w.~-]+)+", path, re.ASCII) is None:
        raise SettingsError(f"FACESEARCH_ROOT_PATH is {value!r}; write a path such as /faces.")
    return path


def read_rate(value: str, *, on_space: bool) -> Rate:
    """That of the variable."""
    if value.lower() == "off" or (not value and not on_space):
        return Rate()
    if value and re.fullmatch(r"[1-9]\d{0,5}", value, re.ASCII) is None:
        raise SettingsError(f"FACESEARCH_RATE is {value!r}; write off, or a whole number of searches a minute from 1.")
    return Rate(int(value or SPACE_RATE))
