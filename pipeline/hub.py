"""Whether the Hub can be reached. HF_ENDPOINT and HF_TOKEN are honoured, by the Hub's own client."""

from __future__ import annotations

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
