"""Pictures that look alike: found across splits and clips, whatever saved them, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageEnhance

from posetools.checks import near
from posetools.checks.near import check_near, clip_of
from posetools.checks.pictures import check_names
from posetools.findings import Finding
from posetools.formats.coco_table import table_from
from posetools.progress import silent

SIZE = (320, 240)


def scene(seed: int) -> Pillow.Image:
    """Return a picture with large and small structures, as photos have them."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        Pillow.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)).resize(SIZE, Pillow.Resampling.BICUBIC)
        for h, w in ((6, 8), (24, 32))
    )
    return Pillow.blend(coarse, fine, 0.3)


def found(folder: Path, pictures: Mapping[str, Mapping[str, Pillow.Image]]) -> list[Finding]:
    """Write split -> name -> picture, and return what is found in them."""
    tables, number = {}, 0
    for split, of_split in pictures.items():
        images = []
        for name, picture in of_split.items():
            number += 1
            images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / name)
        document = {"images": images, "annotations": [], "categories": []}
        tables[split] = table_from(document, Path(f"{split}_coco.json"))
    listed, problems = check_names(tables)
    assert problems == ()
    return list(check_near(listed, folder, silent))


def changed(picture: Pillow.Image) -> dict[str, Pillow.Image]:
    width, height = picture.size
    return {
        "half.png": picture.resize((width // 2, height // 2)),
        "brighter.png": ImageEnhance.Brightness(picture).enhance(1.2),
        "cut.png": picture.crop((3, 3, width - 3, height - 3)).resize(picture.size),
        "grey.png": picture.convert("L"),
    }


class TestWithImagehash:
    @pytest.fixture(autouse=True)
    def _needs_imagehash(self) -> None:
        pytest.importorskip("imagehash", reason="the leaks extra is not installed")

    def test_a_picture_changed_a_little_is_found_across_splits(self, tmp_path: Path) -> None:
        findings = found(tmp_path, {"train": {"a.png": scene(1), "b.png": scene(2)}, "val": changed(scene(1))})
        assert [finding.code for finding in findings if finding.code == "W221"] == ["W221"] * 4
        first = findings[0]
        assert (first.file, first.place) == ("val_coco.json", "images[0] (id 3, half.png)")
        assert (
            "unlike all of other splits (train_coco.json: images[0] (id 1, a.png) is nearly the same" in first.message
        )
        assert first.message.endswith("got 'half.png'")
        assert "posetools split" in first.hint

    def test_other_pictures_are_not_found(self, tmp_path: Path) -> None:
        scenes = {f"s{'abcdefghijklmnopqrst'[seed]}.png": scene(seed) for seed in range(20)}
        names = list(scenes)
        split = {"train": {n: scenes[n] for n in names[:10]}, "val": {n: scenes[n] for n in names[10:]}}
        assert found(tmp_path, split) == []

    def test_frames_of_one_clip_are_found_across_splits_and_those_of_two_clips_within_one(self, tmp_path: Path) -> None:
        darker = ImageEnhance.Brightness(scene(3)).enhance(0.9)
        frames = {"drive_001.png": scene(3), "drive_002.png": darker}
        assert found(tmp_path / "one", {"train": frames}) == []
        apart = {"train": {"drive_001.png": scene(3)}, "val": {"drive_002.png": darker}}
        assert [finding.code for finding in found(tmp_path / "two", apart)] == ["W221"]
        clips = {"train": {"drive_001.png": scene(3), "walk_001.png": darker}}
        (finding,) = found(tmp_path / "three", clips)
        assert (finding.code, finding.place) == ("W220", "images[1] (id 2, walk_001.png)")
        assert "(images" not in finding.message
        assert "(train_coco.json: images[0] (id 1, drive_001.png) is nearly the same" in finding.message

    def test_each_picture_has_one_finding_that_counts_the_others(self, tmp_path: Path) -> None:
        same = changed(scene(4))
        findings = found(tmp_path, {"train": same, "val": {"z.png": scene(4)}})
        (across,) = [finding for finding in findings if finding.code == "W221"]
        assert " and 3 more are nearly the same" in across.message
        assert [finding.place.split(" ")[0] for finding in findings if finding.code == "W220"] == [
            "images[1]",
            "images[2]",
            "images[3]",
        ]

    def test_the_very_same_content_is_left_to_the_check_of_contents(self, tmp_path: Path) -> None:
        assert found(tmp_path, {"train": {"a.png": scene(5)}, "val": {"b.png": scene(5)}}) == []

    def test_what_cannot_be_read_is_left_out(self, tmp_path: Path) -> None:
        pictures = {"train": {"a.png": scene(6)}, "val": {"b.png": scene(6).convert("L"), "c.png": scene(7)}}
        found(tmp_path, pictures)
        (tmp_path / "c.png").write_bytes(b"no picture")
        document = {
            "images": [
                {"id": i, "file_name": name, "width": 320, "height": 240}
                for i, name in enumerate(("a.png", "c.png", "missing.png"))
            ],
            "annotations": [],
            "categories": [],
        }
        listed, _ = check_names({"train": table_from(document, Path("train_coco.json"))})
        assert list(check_near(listed, tmp_path, silent)) == []
        assert list(check_near((), tmp_path, silent)) == []

    def test_blocks_find_what_a_comparison_of_all_with_all_finds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures = {
            "train": {f"{name}.png": scene(seed) for seed, name in enumerate("abcdef")},
            "val": {f"v{name}": picture for name, picture in changed(scene(2)).items()},
        }
        whole = found(tmp_path, pictures)
        monkeypatch.setattr(near, "_PAIRS", 15)
        assert found(tmp_path, pictures) == whole
        assert len(whole) == 7


def test_without_imagehash_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['imagehash'] = None\n"
        "from posetools.checks.near import load_imagehash\n"
        "from posetools.errors import MissingExtraError\n"
        "try: load_imagehash()\n"
        "except MissingExtraError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--near-duplicates needs the 'leaks' extra (imagehash is not installed)" in done.stdout


@pytest.mark.parametrize(
    ("names", "same"),
    [
        (("a/drive_0001.jpg", "a/drive_0002.jpg"), True),
        (("a/drive_0001.jpg", "b/drive_0001.jpg"), False),
        (("drive_1_0001.jpg", "drive_2_0001.jpg"), False),
        (("a1b.jpg", "ab.jpg"), False),
        (("car.jpg", "bus.jpg"), False),
        (("0001.jpg", "0002.jpg"), True),
    ],
)
def test_the_clip_is_the_name_without_its_last_number(names: Sequence[str], same: bool) -> None:
    assert (clip_of(names[0]) == clip_of(names[1])) is same
