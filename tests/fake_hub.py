"""A small Hub on this machine: the part of its protocol that the real client uses to publish and to fetch models."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

USER, TOKEN = "somebody", "hf_somebodys"
Reply = tuple[int, bytes, dict[str, str]]


def point_at(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the client of this process ask this machine, by plain HTTP uploads."""
    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def as_json(value: object, status: int = 200) -> Reply:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


@dataclass
class Repository:
    """What a repository holds: files by path, of which `large` came as LFS objects."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr((sorted(self.files.items()), self.messages)).encode()).hexdigest()


@dataclass
class Hub:
    """One user's repositories. `stall`: the path of a file of which only half is ever sent."""

    repos: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0
    stall: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, path: str, body: bytes, token: str) -> Reply:
        parts = urlsplit(path)
        steps = unquote(parts.path).strip("/").split("/")
        if parts.path == "/":
            return 200, b"", {}
        if parts.path == "/api/repos/create":
            return self._create(json.loads(body), token)
        if parts.path == "/api/validate-yaml":
            return as_json({"errors": [], "warnings": []})
        if steps[0] == "objects":
            assert hashlib.sha256(body).hexdigest() == steps[1] if method == "PUT" else True
            if method == "PUT":
                self.objects[steps[1]] = body
            return 200, self.objects[steps[1]], {}
        name = "/".join(steps[2:4] if steps[:2] == ["api", "models"] else steps[:2]).removesuffix(".git")
        repo = self.repos.get(name)
        if repo is None or (repo.private and token != TOKEN):
            return 404 if token else 401, b"{}", {"X-Error-Code": "RepoNotFound"}
        if method == "POST" and token != TOKEN:
            return 403, b"{}", {}
        if steps[:2] == ["api", "models"]:
            return self._api(name, repo, steps[4:], parse_qs(parts.query), body)
        if steps[2:4] == ["info", "lfs"]:
            return self._batch(json.loads(body))
        return self._resolve(repo, steps[3], "/".join(steps[4:]))

    def _create(self, wanted: dict[str, Any], token: str) -> Reply:
        name = f"{wanted['organization'] or USER}/{wanted['name']}"
        if token != TOKEN:
            return 401, b'{"error": "Invalid username or password."}', {}
        if not name.startswith(f"{USER}/"):
            return 403, b"{}", {}
        if name in self.repos:
            return as_json({"url": f"http://127.0.0.1:{self.port}/{name}"}, 409)
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.repos[name] = Repository(private)
        return as_json({"url": f"http://127.0.0.1:{self.port}/{name}"})

    def _api(self, name: str, repo: Repository, steps: list[str], query: dict[str, list[str]], body: bytes) -> Reply:
        if not steps or steps[0] == "revision":
            if steps and steps[1] not in ("main", repo.sha):
                return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
            files = [{"rfilename": path, "size": len(content)} for path, content in repo.files.items()]
            about = {"id": name, "sha": repo.sha, "private": repo.private, "tags": [], "downloads": 0, "likes": 0}
            return as_json(
                about | {"siblings": files if "blobs" in query else [{**one, "size": None} for one in files]}
            )
        if steps[0] == "preupload":
            files = json.loads(body)["files"]
            modes = {one["path"]: "lfs" if b"\0" in base64.b64decode(one["sample"]) else "regular" for one in files}
            return as_json(
                {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}
            )
        assert steps[0] == "commit"
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repo.messages.append(value["summary"])
            elif line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert line["key"] == "lfsFile"
                repo.files[value["path"]] = self.objects[value["oid"]]
                repo.large.add(value["path"])
        return as_json({"commitUrl": f"http://127.0.0.1:{self.port}/{name}/commit/{repo.sha}", "commitOid": repo.sha})

    def _batch(self, wanted: dict[str, Any]) -> Reply:
        objects = [
            {**one, "actions": {"upload": {"href": f"http://127.0.0.1:{self.port}/objects/{one['oid']}"}}}
            for one in wanted["objects"]
        ]
        return as_json({"transfer": "basic", "objects": objects})

    def _resolve(self, repo: Repository, revision: str, path: str) -> Reply:
        if path not in repo.files or revision not in ("main", repo.sha):
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        content = repo.files[path]
        headers = {"X-Repo-Commit": repo.sha}
        if path in repo.large and path != self.stall:
            oid = hashlib.sha256(content).hexdigest()
            self.objects[oid] = content
            linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
            # Another host, as the Hub's storage is: the client follows redirects within the Hub for the metadata.
            return 302, b"", headers | linked | {"Location": f"http://localhost:{self.port}/objects/{oid}"}
        return 200, content, headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}


@contextmanager
def serve() -> Iterator[Hub]:
    """A Hub that listens; it is empty."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(f"{self.command} {self.path}")
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, content, headers = hub.answer(self.command, self.path, body, token)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET" and hub.stall and self.path.endswith(hub.stall):
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                hub.stalled.set()
                hub.over.wait(60)
                self.close_connection = True
            elif self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_GET = do_POST = do_PUT = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        hub.over.set()
        server.shutdown()
        thread.join()
