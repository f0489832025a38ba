"""Near duplicates: detected across splits and clips, for any encoder, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow
from PIL import ImageEnhance, JpegImagePlugin

from posetools.checks import near
from posetools.checks.images import check_names
from posetools.checks.near import check_near, clip_of, load_imagehash
from posetools.core.findings import Finding
from posetools.errors import MissingExtraError
from posetools.formats.coco.table import table_from
from posetools.imaging.header import content_hash
from posetools.progress import silent

SIZE = (320, 240)


def scene(seed: int) -> Pillow.Image:
    """Return an image with large and small structures, like a photo."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        Pillow.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)).resize(SIZE, Pillow.Resampling.BICUBIC)
        for h, w in ((6, 8), (24, 32))
    )
    return Pillow.blend(coarse, fine, 0.3)


def found(folder: Path, by_split: Mapping[str, Mapping[str, Pillow.Image]]) -> list[Finding]:
    """Write split -> name -> image, and return the findings on them."""
    tables, number = {}, 0
    for split, named in by_split.items():
        images = []
        for name, image in named.items():
            number += 1
            images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            image.save(folder / name)
        document = {"images": images, "annotations": [], "categories": []}
        tables[split] = table_from(document, Path(f"{split}_coco.json"))
    listed, problems = check_names(tables)
    assert problems == ()
    return list(check_near(listed, folder, silent))


def changed(image: Pillow.Image) -> dict[str, Pillow.Image]:
    width, height = image.size
    return {
        "half.png": image.resize((width // 2, height // 2)),
        "brighter.png": ImageEnhance.Brightness(image).enhance(1.2),
        "cut.png": image.crop((3, 3, width - 3, height - 3)).resize(image.size),
        "grey.png": image.convert("L"),
    }


class TestWithImagehash:
    @pytest.fixture(autouse=True)
    def _needs_imagehash(self) -> None:
        pytest.importorskip("imagehash", reason="the leaks extra is not installed")

    def test_an_image_changed_a_little_is_found_across_splits(self, tmp_path: Path) -> None:
        findings = found(tmp_path, {"train": {"a.png": scene(1), "b.png": scene(2)}, "val": changed(scene(1))})
        assert [finding.code for finding in findings if finding.code == "W221"] == ["W221"] * 4
        first = findings[0]
        assert (first.file, first.place) == ("val_coco.json", "images[0] (id 3, half.png)")
        assert (
            "unlike all of other splits (train_coco.json: images[0] (id 1, a.png) is nearly the same" in first.message
        )
        assert first.message.endswith("got 'half.png'")
        assert "posetools split" in first.hint

    def test_other_images_are_not_found(self, tmp_path: Path) -> None:
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

    def test_each_image_has_one_finding_that_counts_the_others(self, tmp_path: Path) -> None:
        same = changed(scene(4))
        findings = found(tmp_path, {"train": same, "val": {"z.png": scene(4)}})
        (across,) = [finding for finding in findings if finding.code == "W221"]
        assert " and 3 more are nearly the same" in across.message
        assert [finding.place.split(" ")[0] for finding in findings if finding.code == "W220"] == [
            "images[1]",
            "images[2]",
            "images[3]",
        ]

    def test_the_nearest_is_named_of_those_that_count(self, tmp_path: Path) -> None:
        """The next frame of the clip is nearer but ignored, and so is the farther one of the other split."""
        train = {name: image for name, image in changed(scene(7)).items() if name in ("cut.png", "brighter.png")}
        darker = ImageEnhance.Brightness(scene(7)).enhance(0.99)
        (first, last) = found(tmp_path, {"train": train, "val": {"v_1.png": scene(7), "v_2.png": darker}})[-2:]
        phash = load_imagehash().phash
        hashes = {path.name: phash(Pillow.open(path).convert("L"), hash_size=12) for path in tmp_path.iterdir()}
        for name, finding in (("v_1.png", first), ("v_2.png", last)):
            apart = {other: int(hashes[name] - hashes[other]) for other in train}
            nearest = min(apart, key=lambda other: apart[other])
            assert len(set(apart.values())) == 2
            assert f"{nearest}) and 1 more are nearly the same; {apart[nearest]} of 144" in finding.message
            assert (finding.code, name in finding.place) == ("W221", True)
        assert hashes["v_1.png"] - hashes["v_2.png"] < min(apart.values())

    def test_the_very_same_content_is_left_to_the_check_of_contents(self, tmp_path: Path) -> None:
        assert found(tmp_path, {"train": {"a.png": scene(5)}, "val": {"b.png": scene(5)}}) == []

    def test_what_cannot_be_read_is_left_out(self, tmp_path: Path) -> None:
        images = {"train": {"a.png": scene(6)}, "val": {"b.png": scene(6).convert("L"), "c.png": scene(7)}}
        found(tmp_path, images)
        (tmp_path / "c.png").write_bytes(b"no image")
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
        images = {
            "train": {f"{name}.png": scene(seed) for seed, name in enumerate("abcdef")},
            "val": {f"v{name}": image for name, image in changed(scene(2)).items()},
        }
        whole = found(tmp_path, images)
        monkeypatch.setattr(near, "_PAIRS_AT_ONCE", 15)
        assert found(tmp_path, images) == whole
        assert len(whole) == 7

    def test_all_that_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        images = {"train": {"a.png": scene(8), "sub/b.png": scene(8).convert("L")}, "val": {"c.png": scene(8)}}
        images["val"]["c.png"] = ImageEnhance.Brightness(scene(8)).enhance(1.1)
        within, across = found(tmp_path, images)
        bits = [int(finding.message.split("; ")[1].split(" of ")[0]) for finding in (within, across)]
        assert all(0 <= number <= near.MOST_DIFFERENT for number in bits)
        assert within == Finding(
            "W220",
            "train_coco.json",
            "images[1] (id 2, sub/b.png)",
            "image must be unlike those of other clips (train_coco.json: images[0] (id 1, a.png) is nearly the same; "
            f"{bits[0]} of 144 bits differ), got 'sub/b.png'",
            "keep the two in one split with `posetools split`; a second copy adds little to training",
        )
        name = "images[0] (id 1, a.png)" if "a.png" in across.message else "images[1] (id 2, sub/b.png)"
        assert across == Finding(
            "W221",
            "val_coco.json",
            "images[0] (id 3, c.png)",
            f"image must be unlike all of other splits (train_coco.json: {name} and 1 more are nearly the same; "
            f"{bits[1]} of 144 bits differ), got 'c.png'",
            "remove it from one split, or keep similar images together with `posetools split --split-by REGEX`: "
            "evaluation would use training data",
        )

    def test_images_are_looked_at_in_batches_and_in_order(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [f"{name}.png" for name in "abcde"]
        for seed, name in enumerate(names):
            scene(seed % 3).save(tmp_path / name)
        (tmp_path / "b.png").write_bytes(b"no image")
        document = {
            "images": [{"id": i, "file_name": n, "width": 320, "height": 240} for i, n in enumerate(names)],
            "annotations": [],
            "categories": [],
        }
        listed, _ = check_names({"train": table_from(document, Path("train_coco.json"))})
        monkeypatch.setattr(near, "_IMAGE_BATCH", 2)
        monkeypatch.setattr(near, "_PAIRS_AT_ONCE", 4)
        told: list[tuple[str, int, int]] = []
        assert list(check_near(listed, tmp_path, lambda *step: told.append(step))) == []
        assert told == [
            *(("hashing images", done, 5) for done in (2, 4, 5)),
            *(("comparing image hashes", done, 4) for done in (1, 2, 3, 4)),
        ]
        kept, signs, contents = near._hash_all(listed, tmp_path, silent)
        assert [each.name for each in kept] == ["a.png", "c.png", "d.png", "e.png"]
        # Integer products would be many times slower.
        assert signs.dtype == np.float32
        assert signs.shape == (4, near.BITS)
        assert set(np.unique(signs)) == {-1.0, 1.0}
        # The first and the fourth file are identical; the last ones of two scenes are not.
        assert contents.tolist() == [0, 1, 0, 2]

    def test_the_hash_is_that_of_the_upright_image(self, tmp_path: Path) -> None:
        phash = load_imagehash().phash
        exif = Pillow.Exif()
        exif[0x0112] = 6
        scene(3).save(tmp_path / "upright.png")
        scene(3).rotate(90, expand=True).save(tmp_path / "lying.png", exif=exif)
        upright, lying = (near._hash(tmp_path / name, phash) for name in ("upright.png", "lying.png"))
        assert upright is not None and lying is not None
        assert upright[0].shape == (near.BITS,)
        assert upright[0].tolist() == lying[0].tolist()
        assert upright[1] != lying[1]
        assert upright[1] == content_hash(tmp_path / "upright.png")
        assert near._hash(tmp_path / "nothing.png", phash) is None

    def test_a_large_photo_is_decoded_small(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, tuple[int, int]]] = []
        real = JpegImagePlugin.JpegImageFile.draft

        def draft(self: Pillow.Image, mode: str, size: tuple[int, int]) -> object:
            asked.append((mode, size))
            return real(self, mode, size)  # type: ignore[arg-type]

        monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", draft)
        scene(1).save(tmp_path / "a.jpg")
        assert near._hash(tmp_path / "a.jpg", load_imagehash().phash) is not None
        assert asked == [("L", (48, 48))]


def _signs(rows: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return hashes, those after the first unlike it in 0, 1, 2, ... bits."""
    signs = np.tile(np.random.default_rng(seed).choice([-1.0, 1.0], near.BITS), (rows, 1))
    for row in range(rows):
        signs[row, :row] *= -1
    return signs.astype(np.float32)


@pytest.mark.parametrize(("start", "stop"), [(0, 40), (0, 1), (13, 29), (39, 40)])
def test_rows_are_alike_from_twenty_bits_down(start: int, stop: int) -> None:
    signs = _signs(40)
    got = [(row, others.tolist(), bits.tolist()) for row, others, bits in near._alike(signs, start, stop)]
    expected = []
    for row in range(start, stop):
        others = [other for other in range(row) if row - other <= near.MOST_DIFFERENT]
        if others:
            expected.append((row, others, [row - other for other in others]))
    assert got == expected


def test_texts_are_numbered_in_order_of_their_coming() -> None:
    numbers = near._numbers(["b", "a", "b", "c", "a"])
    assert numbers.tolist() == [0, 1, 0, 2, 1]
    assert near._numbers([]).shape == (0,)


@pytest.mark.parametrize(
    ("content", "missing"),
    [("import nothing_there", "nothing_there"), ("raise ModuleNotFoundError('broken')", "imagehash")],
)
def test_an_imagehash_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, missing: str
) -> None:
    (tmp_path / "imagehash.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imagehash", raising=False)
    with pytest.raises(MissingExtraError, match=f"--near-duplicates needs the 'leaks' extra \\({missing} is not inst"):
        load_imagehash()


def test_without_imagehash_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(MissingExtraError, match=r"--near-duplicates needs the 'leaks' extra \(imagehash is not inst"):
        load_imagehash()


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


@pytest.mark.parametrize(
    ("name", "clip"),
    [("a/b/drive_12_0001.left.jpg", "a/b/drive_12_\0.left"), ("7x9y.png", "./7x\0y"), ("car.png", "./car")],
)
def test_the_name_of_a_clip(name: str, clip: str) -> None:
    assert clip_of(name) == clip
