"""One small valid source of each format, as a tree in memory; images have 32 x 24 pixels."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from posetools.core.dataset import Dataset, Image
from posetools.core.skeleton import dump_skeleton, load_skeleton
from posetools.formats import FORMATS
from posetools.runtime.results import PoseResult
from tests.build import make_dataset
from tests.formats.custom.test_custom import LONG
from tests.fuzz.tree import Tree, read_tree

SIZE = (96, 64)
# A folder with a valid source for a format of another package. Set by --sample; processes inherit it.
FOLDER = "POSETOOLS_FUZZ_SAMPLE"
CAR8 = load_skeleton("car8")
NAMES = (CAR8.category.name, *CAR8.names)
FLAT = CAR8.model_copy(update={"name": "car8-flat", "template": None})


@cache
def sample(name: str) -> Tree:
    """Return the valid source from which a target's cases start."""
    if FOLDER in os.environ:
        return read_tree(Path(os.environ[FOLDER]))
    with tempfile.TemporaryDirectory() as folder:
        return SAMPLES.get(name, _written)(name, Path(folder))


def dataset(folder: Path, *, per_image: int = 2) -> Dataset:
    """Return two images, one for each split, with two objects each."""
    made = make_dataset(folder, images=("a.jpg", "sub/b.jpg"), per_image=per_image, size=SIZE)
    splits = zip(made.images, ("train", "val"), strict=True)
    return made.with_images([Image(one.file_name, *one.size, path=one.path, split=split) for one, split in splits])


def _written(name: str, folder: Path) -> Tree:
    write, own_sample = FORMATS[name].write, FORMATS[name].sample
    (folder / "src").mkdir()
    if own_sample:
        own_sample(folder / "src")
        return read_tree(folder / "src")
    if write is None:
        raise ValueError(f"{name} has no sample: name a folder with a small valid source, --sample DIR")
    whole = dataset(folder / "in", per_image=1 if name in ("deeplabcut", "sleap") else 2)
    if name == "deeplabcut":
        images = [Image(f"clip/{Path(one.file_name).name}", *one.size, path=one.path) for one in whole.images]
        whole = whole.with_images(images)
    parts = {split: whole.select_images([row]) for row, split in enumerate(("train", "val"))}
    keeps = FORMATS[name].keeps_splits
    write(parts if keeps else {"all": whole}, folder / "src", "copy")
    return read_tree(folder / "src")


def _custom(_: str, folder: Path) -> Tree:
    whole = dataset(folder / "in")
    lines = ["image,car,part,x,y,state,left,top,width,height"]
    for number, one in enumerate(whole):
        x1, y1, x2, y2 = one.box.tolist()
        for row, (name, (x, y, v)) in enumerate(zip(CAR8.names, one.keypoints.tolist(), strict=True)):
            box = f"{x1},{y1},{x2 - x1},{y2 - y1}" if row == 0 else ",,,"
            state = ("absent", "occluded", "visible")[int(v)]
            lines.append(f"{one.image.file_name},{number},{name},{x},{y},{state},{box}")
    return {
        **{name: content for name, content in read_tree(folder / "in").items() if name.endswith(".jpg")},
        "cars.csv": ("\n".join(lines) + "\n").encode(),
        "mapping.toml": LONG.encode(),
    }


def _via3(_: str, folder: Path) -> Tree:
    """Return VIA's sample in VIA 3's form."""
    tree = dict(sample("via"))
    del folder
    tables: dict[str, dict[str, Any]] = {"project": {}, "attribute": {}, "file": {}, "view": {}, "metadata": {}}
    tables["attribute"] = {name: {"aname": name, "type": 1, "options": {}} for name in ("object", "visibility")}
    tables["attribute"]["1"] = {"aname": "label", "type": 4, "options": {str(n): name for n, name in enumerate(NAMES)}}
    content = tree.pop("via_project.json")
    assert isinstance(content, bytes)
    for fid, entry in enumerate(json.loads(content)["_via_img_metadata"].values()):
        tables["file"][str(fid)] = {"fid": fid, "fname": entry["filename"], "type": 2, "loc": 1, "src": ""}
        tables["view"][str(fid)] = {"fid_list": [fid]}
        for number, region in enumerate(entry["regions"]):
            said = region["region_attributes"]
            shape = region["shape_attributes"]
            kind = {"rect": 2, "point": 1}[shape.pop("name")]
            av = {"1": str(NAMES.index(said.pop("label"))), **said}
            tables["metadata"][f"{fid}_{number}"] = {"vid": str(fid), "z": [], "xy": [kind, *shape.values()], "av": av}
    return {**tree, "via3.json": json.dumps(tables).encode()}


def _validate(_: str, folder: Path) -> Tree:
    tree = _written("coco", folder)
    # Without the template, whose fit takes a hundred times as long as everything else.
    record = {"posetools": "0.1.0", "skeleton": json.loads(FLAT.model_dump_json())}
    return {**tree, "conversion.json": json.dumps(record).encode()}


def _conversion(_: str, folder: Path) -> Tree:
    return {"conversion.json": _validate("", folder)["conversion.json"]}


def _skeleton(_: str, folder: Path) -> Tree:
    del folder
    return {"flat.yaml": dump_skeleton(FLAT).encode()}


def _bundle(_: str, folder: Path) -> Tree:
    from posetools.runtime.bundle import write_bundle
    from posetools.runtime.manifest import Sample
    from tests.runtime import tiny

    one = Sample(file="samples/a.png", boxes=(), scores=(), keypoints=(), keypoint_scores=())
    manifest, files = tiny.parts((one,))
    write_bundle(folder / "pair.zip", manifest, {**files, "samples/a.png": tiny.png(tiny.image())})
    return read_tree(folder)


def _zip(_: str, folder: Path) -> Tree:
    with zipfile.ZipFile(folder / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sample("labelme").items():
            if isinstance(content, bytes):
                archive.writestr(f"export/{name}", content)
    return {"export.zip": (folder / "export.zip").read_bytes()}


def _predictions(_: str, folder: Path) -> Tree:
    from posetools.prediction.write import CocoWriter, DocumentWriter
    from tests.prediction.test_predictions import make_result

    results: dict[str, PoseResult] = {"a.jpg": make_result(2), "b.jpg": make_result(1, seed=3)}
    with DocumentWriter(folder / "document.json", CAR8, {"bbox_thr": 0.3, "kpt_thr": 0.2}) as document:
        for name, result in results.items():
            document.add(result, name)
    with CocoWriter(folder / "results.json", CAR8, {"a.jpg": 1, "b.jpg": 2}) as coco:
        for name, result in results.items():
            coco.add(result, name)
    return read_tree(folder)


SAMPLES: Mapping[str, Callable[[str, Path], Tree]] = {
    "custom": _custom,
    "via3": _via3,
    "validate": _validate,
    "fix": _validate,
    "conversion": _conversion,
    "skeleton": _skeleton,
    "bundle": _bundle,
    "zip": _zip,
    "predictions": _predictions,
}
