"""Reading repositories of the Hub. HF_ENDPOINT and HF_TOKEN are honoured, by the Hub's own client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.core.errors import HubError
from pipeline.core.progress import Progress, Report, silent

PROBE_SECONDS = 5


def endpoint() -> str:
    """The Hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def reachable() -> bool:
    """Whether the Hub answers within PROBE_SECONDS."""
    # One request with a short timeout, because the Hub's own client retries a dead host for half a minute.
    import requests

    try:
        requests.head(endpoint(), timeout=PROBE_SECONDS, allow_redirects=False)
    except requests.RequestException:
        return False
    return True


INSTEAD = "it is built here instead"


class HubGone(HubError):
    """The Hub became unreachable while a file was fetched."""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit, with the size in bytes of each file by its path."""

    repo: str
    commit: str
    sizes: Mapping[str, int]


def open_listing(repo: str) -> Listing:
    """The listing of a repository, `user/name` or `user/name@revision`; HubError if it cannot be read."""
    from huggingface_hub import HfApi

    name, _, revision = repo.partition("@")
    if not reachable():
        raise HubError(f"{endpoint()} cannot be reached for the galleries in {repo}, so they are built here instead.")
    try:
        api = HfApi()
        info = api.model_info(name, revision=revision or None, files_metadata=True, timeout=2 * PROBE_SECONDS)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        return Listing(name, str(info.sha), sizes)
    except Exception as error:  # the errors of whichever HTTP library the Hub's client uses, beside its own
        raise HubError(
            f"The repository {repo} cannot be read on {endpoint()} ({type(error).__name__}), so galleries are built "
            "here instead."
        ) from error


def get_file(listing: Listing, path: str, aside: Path, bar: type[tqdm[Any]] | None = None) -> Path:
    """Downloads a file of the repository to the same path below `aside`; HubError if that fails."""
    from huggingface_hub import hf_hub_download

    try:
        file = hf_hub_download(
            listing.repo,
            path,
            revision=listing.commit,
            local_dir=aside,
            tqdm_class=bar or meter(Progress("", "B", 0, 0, 0, 0.0), silent),
        )
    except Exception as error:  # as in open_listing
        kind = HubError if reachable() else HubGone
        raise kind(f"{path} cannot be fetched from {listing.repo} ({type(error).__name__}); {INSTEAD}.") from error
    return Path(file)


def meter(start: Progress, report: Report) -> type[tqdm[Any]]:
    """What the Hub's client takes for its progress bars, turned into our Progress in bytes.

    Args:
        start: names the task, and the bytes of all files together; without these, the client's own bar knows them.
        report: receives the progress.
    """
    done, started = 0, time.perf_counter()

    class Bar(tqdm):  # type: ignore[type-arg]  # no generic class when it runs
        def __init__(
            self,
            files: Iterable[Any] | None = None,
            *,
            unit: str = "",
            initial: int = 0,
            **options: Any,  # noqa: ANN401
        ) -> None:
            super().__init__(files, total=options.get("total"), disable=True)
            self._in_bytes = unit == "B"  # another bar counts files
            self.update(initial)

        def update(self, n: float | None = 1) -> None:
            nonlocal done
            self.n += n or 0
            done += int(n or 0)
            total = start.total or int(self.total or 0)
            if self._in_bytes and total:
                loaded = done if start.total else int(self.n)
                report(Progress(start.task, "B", min(loaded, total), total, loaded, time.perf_counter() - started))

    return Bar
