"""The public Python API: the names in ``posetools``, and the page that explains it."""

from __future__ import annotations

import ast
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import posetools
from posetools import (
    ConvertRequest,
    EvalRequest,
    PipelineOptions,
    PosetoolsError,
    ReadError,
    ReadOptions,
    RecipeOptions,
    TrainRequest,
)
from posetools.core.categories import Categories
from posetools.core.folder import IMAGES, ann_file, skeleton_of
from posetools.core.skeleton_draft import draft_skeleton
from posetools.errors import PosetoolsWarning, RequestError
from tests.build import make_dataset
from tests.converting import labelme_source

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "python.md"
FUNCTIONS = (
    "convert",
    "emit_pair",
    "evaluate",
    "open_pair",
    "read",
    "render_set",
    "split",
    "train",
    "validate",
    "write",
)
BLOCK = re.compile(r"(<!-- needs: train -->\n\n)?```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def walked() -> None:
    """Import every module of the package; none hides a name of the API, whatever was imported before."""
    for found in pkgutil.walk_packages(posetools.__path__, "posetools."):
        if found.name != "posetools.__main__":
            import_module(found.name)


@pytest.mark.usefixtures("walked")
def test_every_name_is_there_after_every_module_was_imported() -> None:
    for name in posetools.__all__:
        given = getattr(posetools, name)
        assert given is getattr(posetools, name)
        if name != "__version__":
            assert inspect.isclass(given) or inspect.isfunction(given), name
            assert inspect.getdoc(given), name
    assert {name for name in posetools.__all__ if inspect.isfunction(getattr(posetools, name))} == set(FUNCTIONS)
    assert set(posetools.__all__) <= set(dir(posetools))
    with pytest.raises(AttributeError, match="has no attribute 'carrots'"):
        posetools.carrots  # noqa: B018


def test_the_type_checker_sees_what_is_loaded() -> None:
    tree = ast.parse(Path(posetools.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"posetools.{place}" for name, place in posetools._EXPORTS.items()}
    assert sorted(seen) == sorted(set(posetools.__all__) - {"__version__"})


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, posetools; print([name for name in sys.modules if name.startswith('posetools.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("walked")
def test_each_function_can_be_called_after_every_module_was_imported(tmp_path: Path) -> None:
    posetools.render_set(tmp_path / "cars", images=4, size=(96, 64), seed=1)
    dataset = posetools.read(tmp_path / "cars")
    assert isinstance(dataset, posetools.Dataset)
    assert isinstance(dataset.skeleton, posetools.Skeleton)
    posetools.write(dataset, tmp_path / "set")
    data = tmp_path / "data"
    request = ConvertRequest(sources=(tmp_path / "cars",), out=data, val=0.25, read=ReadOptions(workers=1))
    assert posetools.convert(request).written
    assert posetools.validate(str(data)).errors == 0
    assert set(posetools.split(str(data), val=0.5).counts) == {"train", "val"}
    options = RecipeOptions.model_validate({"det": {"size": "tiny"}, "pose": {"size": "t"}})
    pair = posetools.emit_pair(data, options=options, out=tmp_path / "configs")
    assert pair.det.is_file()
    assert pair.pose.is_file()
    # Functions that need the stack say so, or report an earlier error.
    absent = tmp_path / "absent"
    with pytest.raises(PosetoolsError):
        posetools.train(TrainRequest(stage="det", config=absent))
    with pytest.raises(RequestError, match="exactly one of run, bundle and checkpoint"):
        posetools.evaluate(EvalRequest())
    with pytest.raises(PosetoolsError):
        posetools.open_pair(PipelineOptions(), bundle=absent)
    with pytest.raises(PosetoolsError):
        posetools.PosePipeline.from_bundle(absent)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "pictures", images=[f"{i}.jpg" for i in range(4)])
    splits = {"train": dataset.select_images(range(3)), "val": dataset.select_images([3])}
    posetools.write(splits, str(tmp_path / "set"))
    again = posetools.read(str(tmp_path / "set"))
    assert [image.split for image in again.images] == ["train"] * 3 + ["val"]
    assert (again.boxes == dataset.boxes).all()
    assert (again.keypoints == dataset.keypoints).all()
    # Splits from the images are kept.
    posetools.write(again, tmp_path / "copy")
    for split in ("train", "val"):
        assert ann_file(tmp_path / "copy", split).read_bytes() == ann_file(tmp_path / "set", split).read_bytes()
    with pytest.warns(PosetoolsWarning, match="labelme"):
        posetools.write(dataset, tmp_path / "labelme", format="labelme")
    assert len(posetools.read(tmp_path / "labelme", format="labelme").images) == 4


def test_a_skeleton_that_is_not_built_in_is_kept(tmp_path: Path) -> None:
    skeleton = draft_skeleton("dots", ["a", "b"], "dot").skeleton
    dataset = make_dataset(tmp_path / "pictures", skeleton=skeleton)
    posetools.write(dataset, tmp_path / "set")
    assert skeleton_of(tmp_path / "set") == skeleton
    assert posetools.read(tmp_path / "set").skeleton == skeleton


def test_writing_refuses_what_convert_refuses(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "pictures")
    other = dataset.skeleton.model_copy(update={"name": "other"})
    posetools.write(dataset, tmp_path / "set")
    with pytest.raises(RequestError, match="overwrite"):
        posetools.write(dataset, tmp_path / "set")
    posetools.write(dataset, tmp_path / "set", overwrite=True)
    with pytest.raises(RequestError, match=r"conversion\.json is missing"):
        posetools.write(dataset, tmp_path / "pictures", overwrite=True)
    with pytest.raises(RequestError, match=r"format must be one of coco, .*, got 'doc'"):
        posetools.write(dataset, tmp_path / "other", format="doc")
    with pytest.raises(RequestError, match="format must be one that posetools can write, got 'custom'"):
        posetools.write(dataset, tmp_path / "other", format="custom")
    for nothing in (
        {},
        dataset.select_images([]),
        {"train": dataset, "val": replace(dataset, categories=Categories.of(other))},
    ):
        with pytest.raises(RequestError, match="data must be at least one image, and all of the same categories"):
            posetools.write(nothing, tmp_path / "other")


def test_reading_raises_once_with_all_findings(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    files = sorted(source.glob("*.json"))
    files[0].write_text("{}", encoding="utf-8")
    text = files[1].read_text(encoding="utf-8")
    files[1].write_text(text.replace('"left-front-tire"', '"left-frontal-tire"'), encoding="utf-8")
    with pytest.raises(ReadError) as caught:
        posetools.read(source)
    error = caught.value
    assert {finding.code for finding in error.findings} == {"E301", "E310"}
    assert str(files[0]) in str(error)
    assert "left-frontal-tire" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, PosetoolsError)


def test_what_is_odd_is_a_warning(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    sorted(source.glob("*.json"))[0].unlink()
    with pytest.warns(PosetoolsWarning, match="W322"):
        assert len(posetools.read(source).images) == 9


def test_what_cannot_be_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="must be an existing file or folder, but does not exist"):
        posetools.read(tmp_path / "absent")
    (tmp_path / "labels.zip").write_bytes(b"PK\5\6" + bytes(18))
    with pytest.raises(RequestError, match="must be a folder, got a zip file"):
        posetools.read(tmp_path / "labels.zip")
    with pytest.raises(RequestError, match="format must be one of"):
        posetools.read(make_folder(tmp_path), format="doc")


def make_folder(tmp_path: Path) -> Path:
    (tmp_path / "folder" / IMAGES).mkdir(parents=True)
    return tmp_path / "folder"


def run_page(folder: Path, *, everything: bool) -> None:
    """Run the page's code in a folder, in one process, as a reader would type it."""
    blocks = [code for marked, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if everything or not marked]
    assert len(blocks) > 5
    file = folder / "page.py"
    # Loaders and readers may be processes, which import the main module again.
    body = "".join(f"    {line}\n" if line else "\n" for line in "\n".join(blocks).splitlines())
    file.write_text(f'if __name__ == "__main__":\n{body}', encoding="utf-8")
    done = subprocess.run([sys.executable, file], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_on_python_runs_as_far_as_training(tmp_path: Path) -> None:
    run_page(tmp_path, everything=False)
    assert list((tmp_path / "configs").iterdir())


@pytest.mark.train
def test_the_page_on_python_runs_to_its_end(tmp_path: Path) -> None:
    run_page(tmp_path, everything=True)
    assert (tmp_path / "work_dirs" / "cars" / "pose" / "epoch_2.pth").is_file()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_pages_use_names_of_the_api_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # posetools.plugins is what authors of plug-ins import.
    assert re.findall(r"^\s*(?:from|import) posetools\.(?!plugins ).*", text, re.MULTILINE) == []
    for names in re.findall(r"^\s*from posetools import (.*)", text, re.MULTILINE):
        assert set(names.replace(" ", "").split(",")) <= set(posetools.__all__)
    assert set(re.findall(r"\bposetools\.([a-zA-Z]\w*)\(", text)) <= set(posetools.__all__)
