"""The folder of `review --by labels` with a pair: suspects in each file for labelme, and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.dataset import DatasetBuilder
from posetools.datasets.io import write
from posetools.evaluation.scoring import PairPredictions, collect
from posetools.formats.labelme import format as labelme
from posetools.formats.options import ReadOptions
from posetools.labeling.review.choose import ReviewRequest, ReviewResult
from posetools.labeling.review.links import bring_back
from posetools.labeling.review.wrong_labels import review_labels
from tests.cli.run import run
from tests.fold_runs import FoldRuns
from tests.labeling.test_suspects import LEAF, LEAF_SHAPE, PLIERS, PLIERS_SHAPE, Planted, objects_of, plant
from tests.oracle import Oracle


@pytest.fixture(scope="module")
def pliers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Planted, PairPredictions]:
    truth = objects_of(tmp_path_factory.mktemp("pliers"), PLIERS, PLIERS_SHAPE, images=60)
    planted, models = plant(truth, each=2), Oracle(truth)
    return planted, collect(planted.labels, detector=models, estimator=models, label=1)


def review_of(
    planted: Planted, predicted: PairPredictions, data: Path, out: Path, *, number: int = 12, unseen: bool = True
) -> ReviewResult:
    request = ReviewRequest(data=data, out=out, number=number, by=("labels",))
    return review_labels(request, [(planted.labels, predicted)], unseen=unseen)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def flags_of(file: Path) -> list[str]:
    return [name for name in load(file)["flags"] if name.startswith("wrong? ")]


def test_a_data_set_gives_copies_with_its_suspects_as_flags(
    tmp_path: Path, pliers: tuple[Planted, PairPredictions]
) -> None:
    planted, predicted = pliers
    write({"train": planted.labels}, tmp_path / "set")
    result = review_of(planted, predicted, tmp_path / "set", tmp_path / "out", unseen=False)
    assert any("the models have seen these labels" in note for note in result.notes)
    document = load(tmp_path / "out/review.json")
    names = [entry["file_name"] for entry in document["pictures"]]
    assert set(names) == {name for places in planted.errors.values() for name, _, _ in places}
    suspects = [one.as_dict() for one in result.suspects]
    assert document["suspects"] == suspects and len({one["file_name"] for one in suspects}) >= len(names)
    for entry in document["pictures"]:
        first = next(one for one in suspects if one["file_name"] == entry["file_name"])
        assert entry["score"] == first["score"] and document["by"] == ["labels"]
        number = -1 if first["object"] is None else first["object"] - 1
        assert (entry["file_name"], number, tuple(first["keypoints"])) in planted.errors[first["kind"]]
        told = flags_of((tmp_path / "out/pictures" / entry["file_name"]).with_suffix(".json"))
        assert [text.removeprefix("wrong? ") for text in told] == entry["reasons"]
    # The folder is a source for convert as any review's: the same labels.
    read = labelme.FORMAT.read([tmp_path / "out/pictures"], PLIERS, ReadOptions())
    kept = planted.labels.select_images(
        [at for at, image in enumerate(planted.labels.images) if image.file_name in names]
    )
    assert not read.findings
    np.testing.assert_allclose(read.dataset.boxes, kept.boxes)
    np.testing.assert_allclose(read.dataset.keypoints, kept.keypoints)


def test_a_labelme_folder_gets_only_what_a_person_saves(
    tmp_path: Path, pliers: tuple[Planted, PairPredictions]
) -> None:
    planted, predicted = pliers
    photos, out = tmp_path / "photos", tmp_path / "out"
    labelme.write({"all": planted.labels}, photos, "copy")
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    result = review_of(planted, predicted, photos, out, number=5)
    assert len(result.chosen) == 5 and not result.notes
    files = sorted((out / "pictures").glob("*.json"))
    assert len(files) == 5 and all(flags_of(file) for file in files)
    assert bring_back(out / "pictures").files == 0
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before
    # As labelme saves a file whose first box was drawn again.
    document = load(files[0])
    document["shapes"][0]["points"] = [[1.0, 2.0], [30.0, 40.0]]
    document["flags"] = {**document["flags"], "checked": True}
    files[0].write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    assert bring_back(out / "pictures").files == 1
    saved = load(photos / files[0].name)
    assert saved["flags"] == {"checked": True} and saved["shapes"] == document["shapes"] and "posetools" not in saved
    assert bring_back(out / "pictures").files == 0
    changed = [name for name, content in before.items() if (photos / name).read_bytes() != content]
    assert changed == [files[0].name]


@pytest.mark.train
def test_the_command_with_the_pairs_of_folds_and_with_one_pair(tmp_path: Path, critters: FoldRuns) -> None:
    common = ("review", critters.data, "--by", "labels", "--device", "cpu")
    done = run(*common, "--run", critters.work, "--folds", "--out", tmp_path / "folds")
    assert done.status == 0, done.words
    assert "Labels that may be wrong" in done.words and "seen these labels" not in done.words
    alone = run(*common, "--run", critters.work / "fold-1", "--out", tmp_path / "one")
    assert alone.status == 0, alone.words
    assert "the models have seen these labels in training" in alone.words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--folds", "--by", "labels"], "--folds must be used with --by labels and --run"),
        (["--folds", "--run", "work"], "--folds must be used with --by labels and --run"),
        (["--run", "work", "--by", "labels", "--only", "unlabeled"], "--only unlabeled cannot be combined with"),
    ],
)
def test_what_cannot_be_combined_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    data = tmp_path / "set"
    write({"train": objects_of(tmp_path / "images", PLIERS, PLIERS_SHAPE, images=2)}, data)
    done = run("review", data, *arguments, "--out", tmp_path / "out")
    assert done.status == 2 and said in done.words and not (tmp_path / "out").exists()


def test_the_objects_of_each_category_are_counted_apart(tmp_path: Path) -> None:
    leaf = LEAF.model_copy(update={"category": LEAF.category.model_copy(update={"id": 2})})
    made = [objects_of(tmp_path / "images", *one, images=40) for one in ((PLIERS, PLIERS_SHAPE), (leaf, LEAF_SHAPE))]
    builder = DatasetBuilder(Categories((PLIERS, leaf)))
    for image in made[0].images:
        builder.add_image(image)
    # Two pliers, then two leaves on the same places, lower down.
    for number, part in enumerate(made, start=1):
        for one in part:
            builder.add_instance(
                one.image.file_name,
                box=one.box + [0, 200 * (number - 1)] * 2,
                keypoints=one.keypoints + np.array([0, 200 * (number - 1), 0]),
                origin=one.origin,
                category_id=number,
            )
    truth = builder.build().with_images([replace(image, height=400) for image in made[0].images])
    for image in truth.images:
        assert image.path is not None
        with Pillow.open(image.path) as small:
            color = small.getpixel((0, 0))
        Pillow.new("RGB", image.size, color).save(image.path)
    points = truth.keypoints.copy()
    row = truth.rows_of_images()[5].start + 3
    first = truth.categories.columns[2][0]
    points[row, first, 0] += 30
    labels = replace(truth, keypoints=points)
    parts = []
    for number in (1, 2):
        models = Oracle(truth.of_categories(Categories((truth.categories[number],))))
        own = labels.of_categories(Categories((labels.categories[number],)))
        parts.append((own, collect(own, detector=models, estimator=models, label=1)))
    write({"train": labels}, tmp_path / "set")
    request = ReviewRequest(data=tmp_path / "set", out=tmp_path / "out", number=1, by=("labels",))
    (suspect, *_) = review_labels(request, parts).suspects
    assert (suspect.file_name, suspect.category, suspect.number) == ("0005.png", "leaf", 1)
    assert (suspect.kind, suspect.keypoints) == ("moved", ("stem",))
    assert flags_of(tmp_path / "out/pictures/0005.json")[0].startswith("wrong? leaf 2: moved")
