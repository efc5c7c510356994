"""A roll of files as a phone has them, made of LFW's photos, taken in as photos of one's own.

`python -m tests.lfw.roll FOLDER` makes it there once, of the photos of FACESEARCH_DATASET, and measures: time, memory
at the peak, what was left out and why, and how many of the people pictured find another photo of theirs first.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pillow_heif import register_heif_opener

from pipeline.core.geometry import unit_rows
from pipeline.core.settings import Settings
from pipeline.embeddings.store import Embeddings
from pipeline.encoder.encoder import StoredEncoders
from pipeline.encoder.look import TURNS
from pipeline.encoder.weights import WeightStore
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.own_galleries import OwnGalleries
from pipeline.page.server.machine import share_freed_memory, spare_cores
from pipeline.photos.images import open_image
from pipeline.photos.photos import Photos
from pipeline.photos.sources import open_photos

SEED = 0
RECIPE = "mtcnn-reid"
FORMS = ("loose", "folder", "zip")
# Of 100 files.
KINDS = {"jpeg": 55, "heic": 20, "48 megapixels": 5, "screenshot": 10, "turned": 5, "other": 5}
SIZES = {"48 megapixels": (8064, 6048), "screenshot": (1170, 2532)}
SIZE = (4032, 3024)
SUFFIXES = {"heic": ".HEIC", "screenshot": ".PNG"}
OTHERS = (".MOV", ".MP4", ".AAE", ".json", ".txt")
GROUPS, FACELESS, DUPLICATES = 0.25, 0.1, 0.05  # of the photos: with two to six people, with none, and copies
GRID = (3, 2)  # places in a photo, one for each person
PORTRAIT = (0.45, 0.95)  # how much of its place a portrait of LFW takes; its face is half as wide
NOISE = 2.0  # of a sensor, in grey levels; without it files are a tenth as large


class OneModel(StoredEncoders):
    """The real networks, of which the compact one is all there is."""

    def why_unavailable(self, recipe: str) -> str | None:
        return None if recipe == RECIPE else "Not in this test."

    def on_disk(self, recipe: str) -> bool:
        return recipe == RECIPE


@dataclass(frozen=True)
class Shot:
    """A file of the roll: which photos of LFW are in it, and where their faces' middles are before it is turned."""

    name: str
    kind: str
    rows: tuple[int, ...] = ()
    people: tuple[str, ...] = ()
    middles: tuple[tuple[float, float], ...] = ()
    width: float = 0.0  # of the portraits
    copy_of: str = ""


def planned(lfw: Photos, count: int) -> list[Shot]:
    """The shots, in the order in which they were taken; the people of each are in other shots too."""
    chance, by_person = random.Random(SEED), defaultdict(list)
    for row, person in enumerate(lfw.people):
        by_person[person].append(row)
    several = sorted(person for person, rows in by_person.items() if len(rows) >= 3)
    chance.shuffle(several)
    kinds = [kind for kind, share in KINDS.items() for _ in range(round(share * count / 100))]
    chance.shuffle(kinds)
    photos = sum(kind != "other" for kind in kinds)
    sizes = [chance.randint(2, 6) for _ in range(round(GROUPS * photos))] + [0] * round(FACELESS * photos)
    sizes += [1] * (photos - len(sizes))
    chance.shuffle(sizes)
    rows = [row for person in several for row in by_person[person]][: sum(sizes)]
    chance.shuffle(rows)
    shots = list[Shot]()
    for number, kind in enumerate(kinds):
        folder = f"Photos/{2021 + 4 * number // len(kinds)}/{1 + number % 12:02}"
        name = f"{folder}/IMG_{number:04}"
        originals = [shot for shot in shots if shot.rows and not shot.copy_of]
        if kind == "other":
            shots.append(Shot(name + chance.choice(OTHERS), kind))
        elif originals and chance.random() < DUPLICATES:
            copied = chance.choice(originals)
            sizes.pop()
            shots.append(Shot(f"{name} copy{Path(copied.name).suffix}", copied.kind, copy_of=copied.name))
        else:
            mine = [rows.pop() for _ in range(min(sizes.pop(), len(rows)))]
            placed = _placed(name + SUFFIXES.get(kind, ".JPG"), kind, mine, chance)
            shots.append(replace(placed, people=tuple(lfw.people[row] for row in mine)))
    return shots


def _placed(name: str, kind: str, rows: Sequence[int], chance: random.Random) -> Shot:
    size = SIZES.get(kind, SIZE)
    across, down = size[0] / GRID[0], size[1] / GRID[1]
    places = chance.sample([(x, y) for x in range(GRID[0]) for y in range(GRID[1])], len(rows))
    width = chance.uniform(*PORTRAIT) * min(across, down)
    middles = tuple(((x + 0.5) * across, (y + 0.5) * down) for x, y in places)
    return Shot(name, kind, tuple(rows), (), middles, width)


def write(lfw: Photos, shots: Sequence[Shot], folder: Path) -> None:
    """Writes the roll's files below the folder."""
    register_heif_opener()
    random = np.random.default_rng(SEED)
    scenes = {size: _scene(size, random) for size in {SIZE, *SIZES.values()}}

    def made(number: int) -> None:
        shot = shots[number]
        path = folder / shot.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if shot.kind == "other":
            path.write_bytes(np.random.default_rng(number).bytes(100_000))
            return
        photo = scenes[SIZES.get(shot.kind, SIZE)].copy()
        for row, (x, y) in zip(shot.rows, shot.middles, strict=True):
            portrait = open_image(lfw[row].source).resize((round(shot.width),) * 2, Image.Resampling.BICUBIC)
            photo.paste(portrait, (round(x - shot.width / 2), round(y - shot.width / 2)))
        if shot.kind == "turned":
            photo = photo.transpose(TURNS[_degrees(shot)])
        heic: dict[str, Any] = {"quality": 50, "enc_params": {"preset": "ultrafast"}}
        photo.save(path, **(heic if path.suffix == ".HEIC" else {"quality": 85, "compress_level": 1}))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(made, [number for number, shot in enumerate(shots) if not shot.copy_of]))
    for shot in shots:
        if shot.copy_of:
            (folder / shot.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / shot.copy_of, folder / shot.name)


def _scene(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A soft landscape of colours, with a sensor's noise."""
    colours = Image.fromarray(random.integers(60, 200, (6, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = random.normal(0, NOISE, (256, 256, 3)).round().astype(np.int16)
    tiles = np.tile(noise, (size[1] // 256 + 1, size[0] // 256 + 1, 1))[: size[1], : size[0]]
    return Image.fromarray(np.clip(np.asarray(colours, np.int16) + tiles, 0, 255).astype(np.uint8))


def _degrees(shot: Shot) -> int:
    return (90, 180, 270)[len(shot.name) % 2 + shot.rows[0] % 2 if shot.rows else 0]


def middles_of(shot: Shot) -> Iterator[tuple[str, float, float]]:
    """The people in a shot, with the middles of their faces in the file's pixels."""
    width, height = SIZES.get(shot.kind, SIZE)
    for person, (x, y) in zip(shot.people, shot.middles, strict=True):
        turned = {0: (x, y), 90: (y, width - x), 180: (width - x, height - y), 270: (height - y, x)}
        yield person, *turned[_degrees(shot) if shot.kind == "turned" else 0]


@dataclass(frozen=True)
class Measured:
    """What came of taking in a roll."""

    form: str
    seconds: float
    cpu_seconds: float
    peak_gb: float
    counts: dict[str, int]
    faces: int
    pictured: int
    found: int

    @property
    def share(self) -> float:
        """Of the people pictured, those for whom another photo of theirs comes first."""
        return self.found / self.pictured

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {what}" for what, number in self.counts.items())
        return (
            f"{self.form}: {self.seconds:.0f} s ({self.cpu_seconds:.0f} s of processors), {self.peak_gb:.2f} GB at the "
            f"peak; {counts}; {self.faces:,} faces; of {self.pictured:,} people pictured {self.share:.1%} find another "
            "photo of theirs first"
        )


def take_in(form: str, roll: Path, settings: Settings, shots: Sequence[Shot]) -> Measured:
    """Takes the roll in: as loose files or one zip into My photos, or as a folder that is a gallery."""
    files = sorted(path for path in roll.rglob("*") if path.is_file())
    encoders = OneModel(WeightStore(settings.models, settings.cache, {}))
    with tempfile.TemporaryDirectory(dir=roll.parent) as place:
        started, worked = time.perf_counter(), time.process_time()
        if form == "folder":
            gallery = Gallery(f"imagefolder:{roll}", encoders, Path(place))
            gallery.build([RECIPE])
            left_out = Counter(reason for _, reason in gallery.photos.left_out)
            embeddings, known = gallery.searcher(RECIPE).embeddings, 0
        else:
            if form == "zip":
                zipped = Path(place) / "roll.zip"
                with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
                    for file in files:
                        archive.write(file, file.relative_to(roll))
                files, started, worked = [zipped], time.perf_counter(), time.process_time()
            own = OwnGalleries(encoders, Path(place) / "kept")
            _, mine = own.create()
            mine.add(files, lambda: None)
            mine.wait()
            assert mine.told is not None, mine.problem
            assert mine.preparation is not None
            left_out, known = Counter(reason for _, reason in mine.told.taken.left_out), mine.told.taken.known
            embeddings = mine.preparation.searcher(RECIPE).embeddings
        seconds, processors = time.perf_counter() - started, time.process_time() - worked
        counts = embeddings.manifest["counts"]
        told = {
            "photos with a face": counts["photos"] - counts["no_face"] - counts["unreadable"],
            "without": counts["no_face"],
            "unreadable": counts["unreadable"],
            "there already": known,
            **{f"left out ({reason})": number for reason, number in left_out.items()},
        }
        found = found_first(embeddings, shots)
        if form != "folder":
            own.close()
    return Measured(form, seconds, processors, _peak(), told, len(embeddings), len(found), sum(found))


def found_first(embeddings: Embeddings, shots: Sequence[Shot]) -> list[bool]:
    """For everybody pictured in two shots or more, whether the nearest face in another shot is theirs."""
    shots = [shot for shot in shots if shot.rows and not shot.copy_of]
    rows_of = defaultdict[str, list[int]](list)
    for row, name in enumerate(embeddings.photo_ids):
        rows_of[Path(name.split(" #")[0]).name].append(row)
    shown, person_of, shot_of = list[int | None](), dict[int, str](), np.full(len(embeddings), -1)
    wanted = list[str]()
    for number, shot in enumerate(shots):
        rows = rows_of[Path(shot.name).name]
        shot_of[rows] = number
        for person, x, y in middles_of(shot):
            near = [row for row in rows if _off(embeddings, row, x, y) < shot.width / 5]
            face = min(near, key=lambda row: _off(embeddings, row, x, y), default=None)
            shown.append(face)
            wanted.append(person)
            if face is not None:
                person_of[face] = person
    vectors, counts, found = unit_rows(np.asarray(embeddings.vectors)), Counter(wanted), []
    for face, person in zip(shown, wanted, strict=True):
        if counts[person] > 1 and face is not None:
            alike = vectors @ vectors[face]
            alike[(shot_of == shot_of[face]) | (shot_of < 0)] = -1
            found.append(person_of.get(int(alike.argmax())) == person)
        elif counts[person] > 1:
            found.append(False)
    return found


def _off(embeddings: Embeddings, row: int, x: float, y: float) -> float:
    face = embeddings.face(row)
    assert face is not None
    left, top, right, bottom = face.box
    return float(np.hypot((left + right) / 2 - x, (top + bottom) / 2 - y))


def _peak() -> float:
    """The most memory of this process, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1e6
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--form", choices=FORMS)
    options = parser.parse_args()
    settings, roll = Settings.from_env(), options.folder / f"roll-{options.files}"
    plan = roll.with_suffix(".json")
    if options.form:
        spare_cores()
        share_freed_memory()  # as the page does
        sys.stdout.write(
            f"{take_in(options.form, roll, settings, [_shot(each) for each in json.loads(plan.read_text())])}\n"
        )
        return
    if not plan.exists():
        lfw = open_photos(settings.dataset)
        shots = planned(lfw, options.files)
        write(lfw, shots, roll)
        plan.write_text(json.dumps([asdict(shot) for shot in shots]))
    for form in FORMS:  # each in a process of its own, whose memory is its own
        subprocess.run([sys.executable, "-m", "tests.lfw.roll", *sys.argv[1:], "--form", form], check=True)


def _shot(plain: dict[str, Any]) -> Shot:
    return Shot(**plain | {"middles": tuple((x, y) for x, y in plain["middles"])})


if __name__ == "__main__":
    main()
