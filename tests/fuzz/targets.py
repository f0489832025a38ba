"""The fuzzed targets: each format, and each other kind of file that posetools reads, with the code that reads it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

from posetools.checks.validate import validate
from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.findings import Finding
from posetools.core.skeleton import dump_skeleton, parse_skeleton, read_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.datasets.own_skeleton import own_skeleton
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from posetools.plugins.registry import registered
from posetools.prediction.read import read_predictions
from tests.fuzz.samples import CAR8

# The formats of other packages.
OF_PLUGINS = [name for name in FORMATS if not registered("formats").by_name[name].own]
# The fraction of a format's cases that convert, and so also write, instead of only reading.
_CONVERTED = 0.15


@dataclass(frozen=True)
class Read:
    """The result of a case that was not refused.

    Attributes:
        findings: the findings.
        objects: how many objects were read; None if they are not counted.
        points: how many labeled keypoints they have.
        ignored: how many shapes were left out on purpose.
    """

    findings: Sequence[Finding]
    objects: int | None = None
    points: int = 0
    ignored: int = 0


Work: TypeAlias = Callable[[Path, Path, Random], Read]


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        name: as on the command line.
        mind: the extension of the file that gets most of the damage; empty for that of the sample's first file that
            is no image.
        work: reads a source, given a folder to write into and a random generator.
        needs: a module that reading requires.
    """

    name: str
    mind: str
    work: Work
    needs: str = ""


def _options(random: Random, source: Path, name: str) -> ReadOptions:
    lenient = name in ("deeplabcut", "sleap")
    return ReadOptions(
        assume_visible=lenient or random.random() < 0.1,
        box_from="keypoints" if lenient else "annotation",
        mapping=source / "mapping.toml" if name == "custom" else None,
        trust_sizes=name in ("labelme", "coco") and random.random() < 0.2,
    )


def _format(name: str) -> Work:
    def work(source: Path, out: Path, random: Random) -> Read:
        read_from = source / "cars.csv" if name == "custom" else source
        options = _options(random, source, name)
        if random.random() < _CONVERTED:
            return _converted(read_from, out, name, options)
        FORMATS[name].detect(read_from)
        own = name in OF_PLUGINS
        categories = own_skeleton([read_from], source=FORMATS[name]).categories if own else Categories.of(CAR8)
        result = FORMATS[name].read([read_from], categories, options)
        return Read(result.findings, len(result.dataset), _points(result.dataset), sum(result.ignored.values()))

    return work


def _points(dataset: Dataset) -> int:
    return int(dataset.num_labeled.sum())


def _converted(source: Path, out: Path, name: str, options: ReadOptions) -> Read:
    request = ConvertRequest(
        sources=(source,), out=out / "done", source_format=name, read=options, keep_going=True, split_by="image"
    )
    before, tempfile.tempdir = tempfile.tempdir, str(out)
    try:
        result = convert(request)
    finally:
        tempfile.tempdir = before
        if left := list(out.glob(".posetools-*")):
            raise AssertionError(f"left behind: {left}")
    if not result.written:
        return Read(result.findings)
    documents = [json.loads(path.read_bytes()) for path in (out / "done").glob("*_coco.json")]
    written = [one for document in documents for one in document["annotations"]]
    points = sum(one["num_keypoints"] for one in written)
    return Read(result.findings, len(written), points, sum(result.ignored.values()))


def _validate(source: Path, out: Path, random: Random) -> Read:
    del out
    data = source / "train_coco.json" if random.random() < 0.1 else source
    skeleton = "car8" if random.random() < 0.02 else None
    report = validate(data, skeleton=skeleton, images=random.random() < 0.8)
    return Read(report.findings)


def _fixed(source: Path, out: Path, random: Random) -> Read:
    read = _validate(source, out, random)
    if random.random() < 0.2:
        read = Read(validate(source, fix=True).findings)
    return read


def _skeleton(source: Path, out: Path, random: Random) -> Read:
    del out, random
    path = source / "flat.yaml"
    parse_skeleton(path, dump_skeleton(read_skeleton(path)))
    return Read(())


def _conversion(source: Path, out: Path, random: Random) -> Read:
    from posetools.core.folder import skeleton_of

    del out, random
    skeleton_of(source)
    return Read(())


def _bundle(source: Path, out: Path, random: Random) -> Read:
    from posetools.runtime.bundle import Bundle

    del out, random
    bundle = Bundle.open(source / "pair.zip")
    for network in bundle.manifest.networks:
        bundle.network(network)
    bundle.sample_images()
    return Read(())


def _zip(source: Path, out: Path, random: Random) -> Read:
    del random
    return _converted(source / "export.zip", out, "labelme", ReadOptions())


def _predictions(source: Path, out: Path, random: Random) -> Read:
    del out
    name = random.choice(("document.json", "results.json"))
    read_predictions(source / name, CAR8, {"a.jpg": 1, "b.jpg": 2})
    return Read(())


_MINDS = {
    "yolo-pose": "x.txt",
    "cvat": "x.xml",
    "deeplabcut": "x.csv",
    "sleap": "x.slp",
    "custom": "x.csv",
}
TARGETS: Mapping[str, Target] = {
    **{
        name: Target(name, _MINDS.get(name, "x.json"), _format(name), "sleap_io" if name == "sleap" else "")
        for name in FORMATS
        if name not in OF_PLUGINS
    },
    **{name: Target(name, "", _format(name)) for name in OF_PLUGINS},
    "via3": Target("via3", "x.json", _format("via")),
    "validate": Target("validate", "x.json", _validate),
    "fix": Target("fix", "x.json", _fixed),
    "skeleton": Target("skeleton", "x.yaml", _skeleton),
    "conversion": Target("conversion", "x.json", _conversion),
    "bundle": Target("bundle", "x.zip", _bundle, "cv2"),
    "zip": Target("zip", "x.zip", _zip),
    "predictions": Target("predictions", "x.json", _predictions),
}
