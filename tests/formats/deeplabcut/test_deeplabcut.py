"""DeepLabCut: single and several animals, CSV and H5, every way to break a file, and round trips."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetools.core.dataset import Dataset
from posetools.core.skeleton import load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError, MissingExtraError, RequestError
from posetools.formats.deeplabcut import format as deeplabcut
from posetools.formats.deeplabcut.h5 import read_frame
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_dataset, make_image
from tests.formats.deeplabcut.test_hdf5 import strange_floats

CAR8 = load_skeleton("car8")
ONE, TWO = CAR8.names[:2]
SINGLE = f"""scorer,me,me,me,me
bodyparts,{ONE},{ONE},{TWO},{TWO}
coords,x,y,x,y
labeled-data/clip/img1.png,10.5,20,60,80
labeled-data/clip/img2.png,,,,
"""
SEVERAL = f"""scorer,,,me,me,me,me,me,me
individuals,,,a,a,a,a,single,single
bodyparts,,,{ONE},{ONE},{TWO},{TWO},corner,corner
coords,,,x,y,x,y,x,y
labeled-data,clip,img1.png,10.5,20,60,80,1,2
labeled-data,clip,img2.png,,,,,3,4
"""
HAS_H5PY = importlib.util.find_spec("h5py") is not None
HAS_H5 = HAS_H5PY and all(importlib.util.find_spec(name) for name in ("pandas", "tables"))
needs_h5py = pytest.mark.skipif(not HAS_H5PY, reason="needs the extra deeplabcut (h5py)")
needs_h5 = pytest.mark.skipif(not HAS_H5, reason="needs the extra deeplabcut (h5py, pandas, tables)")


def save(folder: Path, text: str, name: str = "CollectedData_me.csv") -> Path:
    clip = folder / "labeled-data/clip"
    for number in (1, 2):
        make_image(clip / f"img{number}.png", seed=number)
    (clip / name).write_text(text, encoding="utf-8")
    return clip / name


def read(source: Path, **options: Any) -> ReadResult:
    given_options = {"assume_visible": True, "box_from": "keypoints", "box_margin": 0.0, **options}
    return deeplabcut.FORMAT.read([source], CAR8, ReadOptions(**given_options))


def names(dataset: Dataset) -> list[str]:
    return [image.file_name for image in dataset.images]


def visible(dataset: Dataset) -> Dataset:
    """Return what DeepLabCut keeps of a data set: labeled points, all visible, with box and area around them."""
    points = dataset.keypoints.copy()
    points[:, :, 2] = np.minimum(points[:, :, 2], 1) * 2
    shown = [row[row[:, 2] > 0, :2] for row in points]
    boxes = np.array([[*xy.min(axis=0), *xy.max(axis=0)] for xy in shown])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return replace(dataset, keypoints=points, boxes=boxes, areas=areas)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), per_image=st.integers(1, 3))
def test_read_gives_back_the_points_that_write_wrote(
    tmp_path_factory: pytest.TempPathFactory, seed: int, per_image: int
) -> None:
    folder = tmp_path_factory.mktemp("dlc")
    dataset = make_dataset(folder / "in", images=["one/ü.png", "two/a.png"], per_image=per_image, seed=seed)
    if (dataset.num_labeled < 2).any():
        return
    deeplabcut.write({"train": dataset}, folder / "out", "hardlink")
    result = read(folder / "out")
    found = {finding.code for finding in result.findings}
    assert found <= {"W333"} and result.files == 2
    if "W333" in found:
        return
    assert result.dataset == visible(dataset)


def test_names_that_deeplabcut_cannot_hold_become_a_folder_and_a_name(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in", images=["a.png", "deep/er/a.png"], per_image=1)
    deeplabcut.write({"train": dataset}, tmp_path / "out", "copy")
    assert names(read(tmp_path / "out").dataset) == ["deep__er/a.png", "frames/a.png"]
    text = (tmp_path / "out/labeled-data/frames/CollectedData_posetools.csv").read_text().splitlines()
    assert text[0] == "scorer,,," + ",".join(["posetools"] * 16)
    assert text[1].startswith(f"bodyparts,,,{ONE},{ONE},{TWO},{TWO},")
    assert text[3].startswith("labeled-data,frames,a.png,")


@pytest.mark.parametrize("text", [SINGLE, SEVERAL])
@pytest.mark.parametrize("where", [".", "labeled-data/clip", "labeled-data/clip/CollectedData_me.csv"])
def test_single_and_several_animals(tmp_path: Path, text: str, where: str) -> None:
    save(tmp_path, text)
    result = read(tmp_path / where, ignore=frozenset({"single"}))
    assert result.findings == ()
    assert result.ignored == ({"single": 2} if text == SEVERAL else {})
    assert names(result.dataset) == ["clip/img1.png", "clip/img2.png"]
    assert result.dataset.keypoints[0, :2].tolist() == [[10.5, 20, 2], [60, 80, 2]]
    assert result.dataset.boxes.tolist() == [[10.5, 20, 60, 80]]
    assert str(result.dataset.origins[0]).endswith("line 4" if text == SINGLE else "line 5 (a)")


def test_single_is_an_individual_and_its_body_parts_are_told_once(tmp_path: Path) -> None:
    result = read(save(tmp_path, SEVERAL))
    (finding,) = result.findings
    assert (finding.code, finding.place) == ("E301", "individuals")
    assert finding.message == (
        "individual 'single' (2 labeled points left out) must be one with keypoints of skeleton car8, got 'corner'"
    )
    assert finding.hint.startswith("--ignore single leaves it out")
    followed = read(save(tmp_path, SEVERAL), ignore=frozenset({"single"}))
    assert followed.findings == () and followed.ignored == {"single": 2}
    mapped = read(save(tmp_path, SEVERAL), names={"corner": CAR8.names[2]})
    assert [(finding.code, finding.place) for finding in mapped.findings] == [("W333", "line 5 (single)")]
    assert len(mapped.dataset) == 3
    ignored = read(save(tmp_path, SEVERAL), ignore=frozenset({"corner"}))
    assert ignored.ignored == {"corner": 2} and ignored.findings == ()


def test_what_the_format_does_not_hold_must_be_said(tmp_path: Path) -> None:
    path = save(tmp_path, SINGLE)
    with pytest.raises(RequestError, match=r"must have a visibility, but DeepLabCut has none\n  fix: --assume-visible"):
        read(path, assume_visible=False)
    result = read(path, box_from="annotation")
    assert [finding.code for finding in result.findings] == ["E306"] and len(result.dataset) == 0
    assert "an object must have a box, got 1 without" in result.findings[0].message
    assert "--box-from keypoints" in result.findings[0].hint


def test_two_body_parts_of_one_keypoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--map must be one body part for '{ONE}', got '2: {ONE}, {TWO}'"):
        read(save(tmp_path, SINGLE), names={TWO: ONE})
    result = read(save(tmp_path, SINGLE), names={TWO: ONE}, ignore=frozenset({TWO}))
    assert [finding.code for finding in result.findings] == ["W333"] and result.ignored[TWO] > 0


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda text: text.replace("10.5,20", "10.5,"), "E311", f"{ONE} (x, y) must be two numbers"),
        (lambda text: text.replace("10.5,20", "left,20"), "E311", "got ['left', '20']"),
        (lambda text: text.replace("10.5,20", "inf,20"), "E311", "got ['inf', '20']"),
        (lambda text: text.replace(f"{TWO},{TWO}", "nose,nose"), "E301", "got 'nose'"),
        (lambda text: text.replace("img2.png", "img3.png"), "E121", "an existing image"),
        (lambda text: text.replace("img2.png", "img1.png"), "E313", "the only annotation"),
        (lambda text: text.replace(",,,,", ",,,,,7"), "E309", "must be 5 cells like the header, got 6"),
        (
            lambda text: text.replace("labeled-data/clip/img2.png,", ",5"),
            "E309",
            "an image in the first 1 cells, got ['']",
        ),
        (lambda text: text.replace("10.5,20", '"10,5",20').replace("60", "60.5"), "E310", "got '10,5' and '60.5'"),
        (
            lambda text: text.replace("10.5,20", '"1,100",20'),
            "E310",
            "got '1,100': the comma may be a thousands separator",
        ),
        (lambda text: text.replace("coords,x,y", "coords,x,x"), "E310", "one column x of"),
        (lambda text: text.replace("x,y,x,y", "x,y,x,likelihood"), "E310", "coords must be x and y, got 'likelihood'"),
        (lambda text: text.replace("coords", "likes"), "E310", "a header that starts with one of"),
        (lambda text: text.replace("bodyparts", "individuals"), "E310", "lines with one 'bodyparts'"),
        (lambda text: text.replace("scorer,me,me", 'scorer,"me"x,me'), "E310", "is not valid CSV"),
        (lambda text: text.replace(f"bodyparts,{ONE},", "bodyparts,"), "E310", "equally long"),
        (lambda _: "", "E310", "lines with one 'bodyparts'"),
    ],
)
def test_ways_to_break_one(tmp_path: Path, change: Callable[[str], str], code: str, said: str) -> None:
    result = read(save(tmp_path, change(SINGLE)))
    assert code in {finding.code for finding in result.findings}
    assert any(said in finding.message for finding in result.findings), result.findings


DOG = f"""scorer,me,me,me,me
bodyparts,{ONE},{ONE},{TWO},{TWO}
coords,x,y,x,y
labeled-data/clip/img1.png,10.5,20.25,60,80
labeled-data/clip/img2.png,30,40.5,,
"""


@pytest.mark.parametrize(
    ("change", "repaired"),
    [
        (lambda text: text, []),
        (lambda text: text.replace("40.5,,", "40.5"), ["fewer in 1 line: missing cells were read as empty"]),
        (lambda text: text.replace("\n", ",,\n"), ["more in 2 lines: further empty cells were ignored"]),
        (lambda text: text.replace("80\n", "80,,\n"), ["got more in 1 line"]),
        (lambda text: text.replace("40.5,,", "40.5,NA,NaN"), ["got another word in 1 line: read as empty"]),
        (lambda text: text.replace(",", ";").replace(".5", ",5").replace(".25", ",25"), ["decimal commas in 2 lines"]),
        (lambda text: text.replace(",", "\t"), []),
        (lambda text: text.replace("\n", "\r\n"), []),
        (lambda text: "\ufeff" + text, []),
        (lambda text: text.replace("\n", "\n\n") + "\n,,,,\n", []),
        (lambda text: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()), []),
    ],
)
def test_what_has_one_meaning_is_read(tmp_path: Path, change: Callable[[str], str], repaired: list[str]) -> None:
    path = save(tmp_path, DOG)
    path.write_bytes(change(DOG).encode())
    assert deeplabcut.detect(tmp_path) and deeplabcut.detect(path)
    result = read(tmp_path, box_margin_px=5.0)
    found = [finding for finding in result.findings if finding.code != "W324"]
    assert found == [], found
    said = [finding.message for finding in result.findings]
    assert len(said) == len(repaired) and all(map(str.__contains__, said, repaired)), said
    assert result.dataset.keypoints[:, :2].tolist() == [[[10.5, 20.25, 2], [60, 80, 2]], [[30, 40.5, 2], [0, 0, 0]]]
    assert result.dataset.boxes.tolist() == [[5.5, 15.25, 65, 85], [25, 35.5, 35, 45.5]]


def test_a_line_with_too_many_cells_is_lost_alone(tmp_path: Path) -> None:
    result = read(save(tmp_path, DOG.replace("60,80", "60,80,90")), box_margin_px=5.0)
    assert [(finding.code, finding.place) for finding in result.findings] == [("E309", "line 4")]
    assert names(result.dataset) == ["clip/img2.png"], "its image is no negative"


def test_the_individual_is_named(tmp_path: Path) -> None:
    result = read(save(tmp_path, SEVERAL.replace("10.5,20,60,80", "-9,20,-9,80")), ignore=frozenset({"single"}))
    (finding,) = result.findings
    assert (finding.code, finding.place) == ("E306", "line 5 (a)")
    assert "one with a labeled point in labeled-data/clip/img1.png, got 'none'" in finding.message


def test_files_of_several_folders(tmp_path: Path) -> None:
    save(tmp_path, DOG)
    for seed, clip in enumerate(("paw", "tail"), start=1):
        for number in (1, 2):
            make_image(tmp_path / f"labeled-data/{clip}/img{number}.png", seed=10 * seed + number)
        text = DOG.replace("/clip/", f"/{clip}/")
        (tmp_path / f"labeled-data/{clip}/CollectedData_me.csv").write_text(text)
    result = read(tmp_path, box_margin_px=5.0)
    assert result.findings == () and result.files == 3
    assert names(result.dataset) == [f"{clip}/img{number}.png" for clip in ("clip", "paw", "tail") for number in (1, 2)]


def _beside(folder: Path, text: str) -> Path:
    """Save a .csv file with the matching .h5 file next to it, as DeepLabCut does."""
    import pandas as pd

    path = save(folder, text)
    several = "individuals" in text
    index = [0, 1, 2] if text.splitlines()[0].startswith("scorer,,,") else 0
    frame = pd.read_csv(path, index_col=index, header=[0, 1, 2, 3] if several else [0, 1, 2])
    frame.to_hdf(path.with_suffix(".h5"), key="df_with_missing", mode="w")
    return path


@needs_h5
@pytest.mark.parametrize("text", [DOG, SEVERAL])
def test_h5_beside_csv_with_the_same_labels(tmp_path: Path, text: str) -> None:
    path = _beside(tmp_path, text)
    whole = read(tmp_path, ignore=frozenset({"corner"}))
    assert {one.code for one in whole.findings} <= {"W333"}, "an ordinary project has both files"
    assert whole.files == 1 and whole.dataset == read(path, ignore=frozenset({"corner"})).dataset


@needs_h5
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("60,80", "61,80"), f"1 other points, the first is img1.png: {TWO}: (61.0, 80.0) in"),
        (lambda text: text.replace("60,80", ","), f"1 other points, the first is img1.png: {TWO}: not labeled in"),
        (lambda text: text[: text.index("labeled-data/clip/img2")], "the first is img2.png in the .h5 file"),
    ],
)
def test_h5_beside_csv_with_other_labels(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    path = _beside(tmp_path, DOG)
    path.write_text(change(DOG))
    result = read(tmp_path)
    (finding,) = (one for one in result.findings if one.code != "W322")
    assert finding.code == "E313" and said in finding.message and len(result.dataset) == 0
    assert f"the same as {path.with_suffix('.h5').name}" in finding.message
    for chosen in (path, path.with_suffix(".h5")):
        assert str(chosen) in finding.hint
        followed = read(chosen, box_margin_px=5.0)
        assert not followed.findings and len(followed.dataset) > 0


def test_h5_beside_csv_that_cannot_be_compared(tmp_path: Path) -> None:
    path = save(tmp_path, SINGLE)
    path.with_suffix(".h5").write_text("nothing")
    (finding,) = read(tmp_path).findings
    assert (finding.code, finding.file) == ("W334", str(path)) and "but 1 pair was not compared" in finding.message
    assert "the .csv files are read" in finding.message and finding.hint.startswith("give the .csv file as SRC")
    assert read(path).findings == ()


def test_a_point_outside_is_kept_and_the_box_is_cut(tmp_path: Path) -> None:
    result = read(save(tmp_path, SINGLE.replace("60,80", "600,80")))
    assert result.findings == () and result.dataset.keypoints[0, 1].tolist() == [600, 80, 2]
    assert result.dataset.boxes.tolist() == [[10.5, 20, 320, 80]]


def test_images_beside_the_file_and_in_other_folders(tmp_path: Path) -> None:
    path = save(tmp_path / "in", SINGLE.replace("labeled-data/clip/", "labeled-data\\elsewhere\\"))
    assert {finding.code for finding in read(path).findings} == {"W332"}, "beside the file, in another folder"
    moved = tmp_path / "CollectedData_me.csv"
    path.rename(moved)
    assert {finding.code for finding in read(moved).findings} == {"E121"}
    assert {finding.code for finding in read(moved, image_roots=(tmp_path / "in",)).findings} == {"E121"}
    clip = tmp_path / "in/labeled-data/clip"
    assert names(read(moved, image_roots=(clip,)).dataset) == ["clip/img1.png", "clip/img2.png"]


def test_images_without_a_row_are_told(tmp_path: Path) -> None:
    save(tmp_path, SINGLE)
    make_image(tmp_path / "labeled-data/clip/img3.png")
    assert [finding.code for finding in read(tmp_path).findings] == ["W322"]


def test_in_a_folder_only_collected_data_is_read(tmp_path: Path) -> None:
    save(tmp_path, SINGLE)
    save(tmp_path, SINGLE.replace("x,y,x,y", "x,y,x,likelihood"), "img_resnet50.csv")
    assert deeplabcut.detect(tmp_path) and deeplabcut.detect(tmp_path / "labeled-data/clip/img_resnet50.csv")
    assert read(tmp_path).files == 1
    with pytest.raises(RequestError, match="a folder with DeepLabCut's CollectedData files"):
        read(make_image(tmp_path / "other/a.jpg").parent)


@pytest.mark.skipif(HAS_H5PY, reason="the extra deeplabcut is installed")
def test_h5_needs_the_extra(tmp_path: Path) -> None:
    path = save(tmp_path, "", "CollectedData_me.h5")
    with pytest.raises(MissingExtraError, match=r"reading DeepLabCut's \.h5 files needs the 'deeplabcut' extra"):
        read(path)


@needs_h5
@pytest.mark.parametrize("per_image", [1, 2])
def test_h5_holds_what_the_csv_holds(tmp_path: Path, per_image: int) -> None:
    dataset = make_dataset(tmp_path / "in", images=["one/a.png", "one/b.png"], per_image=per_image, seed=3)
    deeplabcut.write({"train": dataset}, tmp_path / "out", "copy")
    folder = tmp_path / "out/labeled-data/one"
    both = read(tmp_path / "out")
    assert both.findings == () and both.files == 1, "the .csv is read where both are"
    (folder / "CollectedData_posetools.csv").unlink()
    result = read(tmp_path / "out")
    assert result.findings == () and result.dataset == both.dataset == visible(dataset)


@needs_h5
@pytest.mark.parametrize("layout", ["fixed", "table"])
def test_h5_of_older_versions_with_a_path_in_one_column(tmp_path: Path, layout: str) -> None:
    import pandas as pd

    dataset = make_dataset(tmp_path / "in", images=["one/a.png", "one/b.png"], per_image=1, seed=3)
    deeplabcut.write({"train": dataset}, tmp_path / "out", "copy")
    path = tmp_path / "out/labeled-data/one/CollectedData_posetools.h5"
    frame = pd.read_hdf(path)
    frame.index = pd.Index(["\\".join(parts) for parts in frame.index])
    frame.to_hdf(path, key="df_with_missing", mode="w", format=layout)
    result = read(path)
    assert result.findings == () and result.dataset == visible(dataset)
    other = pd.DataFrame({"a": [1.0]})
    other.to_hdf(path, key="df_with_missing", mode="w")
    assert "the file must be a table with the column levels" in read(path).findings[0].message


@needs_h5
def test_h5_with_numbers_that_h5py_would_write_beyond_their_array(tmp_path: Path) -> None:
    import h5py
    import pandas as pd

    dataset = make_dataset(tmp_path / "in", images=["one/a.png"], per_image=1, seed=3)
    deeplabcut.write({"train": dataset}, tmp_path / "out", "copy")
    path = tmp_path / "out/labeled-data/one/CollectedData_posetools.h5"
    frame = pd.read_hdf(path)
    frame.index = pd.Index(["\\".join(parts) for parts in frame.index])
    frame.to_hdf(path, key="df_with_missing", mode="w", format="table")
    with h5py.File(path, "r+") as file:
        group = file["df_with_missing"]
        old = group["table"]
        attributes = dict(old.attrs)
        del group["table"]
        names = [("index", old.dtype["index"]), ("values_block_0", "f8"), ("values_block_1", "f8")]
        group["table"] = np.zeros(1, dtype=names)
        group["table"].attrs.update(attributes)
    said = []
    for content in list(strange_floats(path.read_bytes())):
        path.write_bytes(content)
        said += [finding.message for finding in read(path).findings if finding.code == "E310"]
    assert any("table must be an array of numbers or text, got 'numbers that fit in no array'" in one for one in said)


@needs_h5py
def test_h5_that_is_none(tmp_path: Path) -> None:
    result = read(save(tmp_path, "nothing", "CollectedData_me.h5"))
    assert [finding.code for finding in result.findings] == ["E310"]
    assert "is not a pandas table" in result.findings[0].message


@needs_h5
def test_pandas_reads_the_csv_as_deeplabcut_does(tmp_path: Path) -> None:
    import pandas as pd

    dataset = make_dataset(tmp_path / "in", images=["one/a.png", "one/b.png"], per_image=2)
    deeplabcut.write({"train": dataset}, tmp_path / "out", "copy")
    path = tmp_path / "out/labeled-data/one/CollectedData_posetools.csv"
    frame = pd.read_csv(path, index_col=[0, 1, 2], header=[0, 1, 2, 3])
    assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert frame.shape == (2, 2 * 8 * 2)
    assert frame.index.tolist() == [("labeled-data", "one", "a.png"), ("labeled-data", "one", "b.png")]
    pd.testing.assert_frame_equal(frame, pd.read_hdf(path.with_suffix(".h5")), check_names=False)
    frame.to_csv(path)
    assert read(tmp_path / "out").dataset == visible(dataset), "what pandas writes is read as well"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: replace(d, iscrowd=np.array([True, False, False, False])), "DeepLabCut has no crowds"),
        (lambda d: replace(d, keypoints=d.keypoints * 0), "one with a labeled keypoint, as DeepLabCut holds only"),
    ],
)
def test_what_it_cannot_hold_is_refused(tmp_path: Path, change: Callable[[Dataset], Dataset], said: str) -> None:
    with pytest.raises(InputError, match=said):
        deeplabcut.write({"train": change(make_dataset(tmp_path / "in"))}, tmp_path / "out", "copy")
    assert not (tmp_path / "out").exists()


def test_converting_by_its_signs(tmp_path: Path) -> None:
    save(tmp_path / "src", SINGLE)
    options = ReadOptions(assume_visible=True, box_from="keypoints")
    request = ConvertRequest(sources=(tmp_path / "src",), out=tmp_path / "out", target_format="labelme", read=options)
    result = convert(request)
    assert result.written and result.source_format == "deeplabcut"


@needs_h5py
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_me.h5"
    os.mkfifo(path)
    assert read_frame(path) == "must be a regular file"
