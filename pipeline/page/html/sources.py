"""The page's HTML, style, scripts and long texts as they lie in the files of this folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.core.templates import Templates

HERE = Path(__file__).parent
TEMPLATES = Templates(HERE / "templates")
# What a visitor clicked on last before the scripts had come is clicked again when they have.
LOADING = """
let early;
const keep = (click) => { early = click.target; };
element.addEventListener('click', keep);
Promise.all([ADDRESSES].map((address) => import(new URL(address, document.baseURI)))).then((scripts) => {
  element.removeEventListener('click', keep);
  scripts.forEach((script) => script.default(element, trigger, watch, server));
  early?.click();
});
"""


def source(name: str) -> str:
    """The file of that name as it is."""
    return (HERE / name).read_text(encoding="utf-8")


def version(name: str) -> str:
    """A digest of the file: an address with it may be kept for good."""
    return hashlib.sha256(source(name).encode()).hexdigest()[:16]


def loading(*names: str) -> str:
    """For `js_on_load`: runs these scripts on the component, from files that browsers keep."""
    addresses = ", ".join(f"'scripts/{name}?v={version(name)}'" for name in names)
    return LOADING.replace("ADDRESSES", addresses)
