"""SLEAP: ``.slp`` files, read and written by sleap-io (extra ``sleap``).

Rules for reading; docs/formats.md explains them to users, tests/formats/sleap/test_sleap.py tests each of them.

- A user instance is an object; the nodes are the skeleton's keypoints, or are mapped or left out by name. Predicted
  instances are not read, and counted in a finding.
- A node is labeled if SLEAP marks it visible and it has coordinates. SLEAP also keeps coordinates of nodes that are not
  visible, even of those that were never placed: they are read as not labeled, with a note.
- SLEAP has no boxes and no occluded points: as for DeepLabCut, --box-from keypoints makes boxes and --assume-visible
  makes points visible.
- Frames with only predicted instances are left out as unlabeled.
- Frames of a video file, and images in a ``.slp`` package, are written as images (frames.py).
- Of several skeletons, those with nodes of the posetools skeleton are read.

Written: ``labels.slp`` with one video, the list of the images next to it; all splits go into one. SLEAP cannot hold, so
not written: boxes, areas, occluded keypoints, image sizes, splits. Refused: several categories, iscrowd, and objects
without a labeled point.

A file may have one skeleton for flies and another for mice. A skeleton with none of the keypoints is an error until the
user leaves it out, with ``--ignore NAME`` or with ``--categories`` and the names of the skeletons to read.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Split, Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.core.skeleton import Skeleton
from posetools.errors import MissingExtraError, OutputError, RequestError, first_line, must_be, show_value
from posetools.files.disk import Transfer, transfer
from posetools.files.walking import files_ending
from posetools.formats.declared import DeclaredCategory, with_options
from posetools.formats.deeplabcut.h5 import harmful_array
from posetools.formats.entry import Format
from posetools.formats.joining.made_boxes import box_round
from posetools.formats.labels import only_skeleton, settled, unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading, PointXYV, Row
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sleap.declared import declared_by
from posetools.formats.sleap.frames import Videos
from posetools.formats.sources.many import Opener, SourceFile, list_sources, without_entry
from posetools.formats.target import check_holdable, check_labeled, slices

LABELS_FILE = "labels.slp"
# Errors that sleap-io, and h5py below it, raise for a damaged file: sleap-io does not validate its content.
_BROKEN_SLP = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    NameError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
)


def detect(path: Path) -> bool:
    """Return whether the path is a .slp file, or a folder with one."""
    if path.is_dir():
        return any(files_ending(path, ".slp"))
    return path.is_file() and _is_slp(path)


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of .slp files, or of those in these folders.

    Raises:
        RequestError: a source does not exist or holds no .slp file, or an option is missing or invalid.
        MissingExtraError: sleap-io is not installed.
    """
    skeleton, options = only_skeleton(categories, "SLEAP files"), settled(categories, options)
    files, images = _files(sources)
    if not options.assume_visible:
        raise RequestError(
            f"{files[0].file}: points must have a visibility, but SLEAP has no occluded points",
            hint="--assume-visible reads every labeled point as visible",
        )
    opener = Opener(options.image_roots)
    readings: list[FileReading] = []
    for done, source in enumerate(files, start=1):
        labels = _load(source.file)
        if isinstance(labels, Finding):
            readings.append(FileReading(source.file, findings=[labels]))
        else:
            readings += _Frames(source, skeleton, options).read(labels, opener)
        options.progress("reading SLEAP files", done, len(files))
    yield shard_of(readings, categories, without_entry(images, readings, "a SLEAP file"), files=len(files))


def declared(sources: Sequence[Path], options: ReadOptions) -> Sequence[DeclaredCategory]:
    """Return the categories that .slp files declare (declared.py); unreadable files are left to the reader.

    Raises:
        RequestError: a source does not exist or holds no .slp file.
        MissingExtraError: sleap-io is not installed.
    """
    found: list[DeclaredCategory] = []
    for source in _files(sources)[0]:
        labels = _load(source.file)
        if not isinstance(labels, Finding):
            found += declared_by(labels, str(source.file))
    read = (with_options(one, options) for one in found)
    return [one for one in read if one is not None]


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write one .slp file and the images; all splits go into one folder.

    Raises:
        RequestError: there are several categories.
        InputError: SLEAP cannot hold something (see the module's docstring).
        OutputError: a file cannot be written.
        MissingExtraError: sleap-io is not installed.
    """
    sio = _sleap_io("writing SLEAP files")
    skeletons = [only_skeleton(part.categories, "SLEAP files") for part in splits.values()]
    check_holdable(splits, "SLEAP", lambda _, name: name)
    check_labeled(splits, "SLEAP")
    images = [image for split in splits.values() for image in split.images]
    if not images:
        return
    for image in images:
        if image.path is not None:
            transfer(image.path, folder / image.file_name, how)
    skeleton = skeletons[0]
    nodes = sio.Skeleton(nodes=list(skeleton.names), edges=list(skeleton.edges), name=skeleton.category.name)
    video = _video([image.file_name for image in images], images[0].size, sio)
    of_images = ((dataset, rows) for dataset in slices(splits.values()) for rows in dataset.rows_of_images())
    frames = [
        sio.LabeledFrame(video=video, frame_idx=index, instances=list(_instances(dataset, rows, nodes, sio)))
        for index, (dataset, rows) in enumerate(of_images)
    ]
    labels = sio.Labels(labeled_frames=frames, videos=[video], skeletons=[nodes])
    try:
        sio.save_slp(labels, str(folder / LABELS_FILE), verbose=False)
    except OSError as exc:
        raise OutputError(f"{folder / LABELS_FILE}: cannot be written: {exc.strerror or exc}") from exc


FORMAT = Format(
    name="sleap",
    title="SLEAP",
    detect=detect,
    signs="a file .slp",
    shards=shards,
    endings=(".slp",),
    declared=declared,
    write=write,
    lacks=frozenset({"splits", "boxes", "occluded", "areas", "pairs", "sigmas"}),
)


def _files(sources: Sequence[Path]) -> tuple[list[SourceFile], list[Path]]:
    return list_sources(sources, _is_slp, "SLEAP's .slp files")


def _is_slp(path: Path) -> bool:
    return path.suffix.lower() == ".slp"


def _sleap_io(what: str) -> Any:
    try:
        import sleap_io
    except ImportError as exc:
        raise MissingExtraError(what, "sleap", exc.name or "sleap-io") from exc
    return sleap_io


def _load(path: Path) -> Any | Finding:
    sio = _sleap_io("reading SLEAP files")
    advice = "save it again in SLEAP, or move it out of the source"
    if not path.is_file():
        # Opening a pipe would wait for a writer.
        return Finding("E310", str(path), "", "must be a regular file", advice)
    try:
        harmful = harmful_array(path)
        if harmful:
            return Finding("E310", str(path), *harmful, advice)
        return sio.load_slp(os.fspath(path), open_videos=False)
    except _BROKEN_SLP as exc:
        message = f"is not a file that sleap-io can read: {show_value(first_line(exc))}"
        return Finding("E310", str(path), "", message, advice)


@dataclass
class _Frames:
    """Reads the frames of one file; every instance ends up in a reading or in a finding."""

    source: SourceFile
    skeleton: Skeleton
    options: ReadOptions
    ignored: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    _unknown: Counter[str] = field(default_factory=Counter)
    _others: Mapping[int, str] = field(default_factory=dict)
    _predicted: int = 0
    _unlabeled: int = 0
    _unseen: int = 0
    _boxless: int = 0

    def read(self, labels: Any, opener: Opener) -> list[FileReading]:
        """Return a reading per frame, and one for the file itself."""
        self._others, findings = _other_skeletons(labels, str(self.source.file), self.skeleton, self.options)
        self.findings += findings
        by_video: dict[int, list[tuple[str, Any]]] = {}
        for index, frame in enumerate(labels.labeled_frames):
            by_video.setdefault(id(frame.video), []).append((f"labeled_frames[{index}]", frame))
        videos = Videos(self.source, self.options, _BROKEN_SLP)
        readings: list[FileReading] = []
        places = {id(video): f"videos[{number}]" for number, video in enumerate(labels.videos)}
        for key, frames in by_video.items():
            video = frames[0][1].video
            if isinstance(video.filename, list):
                readings += [self._read_listed(place, frame, opener) for place, frame in frames]
            else:
                readings += self._read_decoded(videos, video, places.get(key, "videos"), frames)
        self._tell(labels)
        return [*readings, FileReading(self.source.file, findings=self.findings, ignored=self.ignored)]

    def _tell(self, labels: Any) -> None:
        for name, times in sorted(self._unknown.items()):
            rule = f"a keypoint of skeleton {self.skeleton.name} ({times} labeled points left out)"
            file = str(self.source.file)
            known = self.skeleton.names
            found = unknown_label(name, known, file=file, place="nodes", field="a node", rule=rule)
            self.findings.append(replace(found, of="point", number=times))
        if self._boxless:
            hint = "--box-from keypoints makes boxes from labeled points"
            message = f"an instance must have a box, got {self._boxless} without: SLEAP files have no boxes"
            self._find("E306", "", message, hint)
        if self._predicted:
            more = f"; {self._unlabeled} frames with nothing else were left out" if self._unlabeled else ""
            self._find("W323", "", f"{self._predicted} predicted instances are no labels: left out{more}")
        if self._unseen:
            message = f"{self._unseen} points not visible in SLEAP were read as not labeled: coordinates left out"
            self._find("W323", "", message)
        instances = [one for frame in labels.labeled_frames for one in frame.instances]
        tracked = sum(one.track is not None and not _is_prediction(one) for one in instances)
        if tracked:
            self._find("W323", "", f"{tracked} instances have a track, which is left out")

    def _find(self, code: str, place: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(code, str(self.source.file), place, message, hint))

    def _read_listed(self, place: str, frame: Any, opener: Opener) -> FileReading:
        """Read a frame of a video that is a list of image files."""
        names = frame.video.filename
        lost = len(frame.instances)
        if not 0 <= frame.frame_idx < len(names):
            rule = "a sequence of image files that has the frame"
            message = f"{must_be('the video', rule, frame.frame_idx)} ({lost} instances left out)"
            hint = "export the labels again together with their frames as images"
            return FileReading(
                self.source.file, findings=[Finding("E121", str(self.source.file), place, message, hint)]
            )
        text = self._seen_from_file(str(names[frame.frame_idx]))
        objects = self._objects(frame, place)
        reading = opener.open(self.source, [text], place=place, objects=lost, what="instances")
        if objects is None:
            return FileReading(self.source.file, identity=reading.identity)
        return self._with_objects(reading, objects, place)

    def _read_decoded(
        self, videos: Videos, video: Any, place: str, frames: Sequence[tuple[str, Any]]
    ) -> list[FileReading]:
        """Read frames that are decoded from a video file or from the package."""
        found = [(at, frame, self._objects(frame, at)) for at, frame in frames]
        wanted = {int(frame.frame_idx): len(frame.instances) for _, frame, objects in found if objects is not None}
        if not wanted:
            return []
        readings, findings = videos.read(video, place, wanted)
        self.findings += findings
        return [
            self._with_objects(readings[int(frame.frame_idx)], objects, at)
            for at, frame, objects in found
            if objects is not None and int(frame.frame_idx) in readings
        ]

    def _with_objects(self, reading: FileReading, objects: Sequence[list[PointXYV]], place: str) -> FileReading:
        if reading.image is None:
            return reading
        return replace(reading, rows=list(self._rows(objects, reading, place)))

    def _seen_from_file(self, name: str) -> str:
        """Return a path relative to the file: sleap-io gives the written path, or its absolute form."""
        path = PurePath(name)
        folder = PurePath(self.source.file.absolute().parent)
        return str(path.relative_to(folder)) if path.is_absolute() and path.is_relative_to(folder) else name

    def _objects(self, frame: Any, place: str) -> list[list[PointXYV]] | None:
        """Return the points of each labeled instance; None for a frame that must not be read."""
        labeled = [one for one in frame.instances if not _is_prediction(one)]
        self._predicted += len(frame.instances) - len(labeled)
        if frame.instances and not labeled:
            self._unlabeled += 1
            return None
        if any(self._others.get(id(one.skeleton)) == "" for one in labeled):
            # One object cannot be read, so the image must not count as an image without it.
            return None
        return [self._points(one, place) for one in labeled if not self._is_other(one)]

    def _is_other(self, instance: Any) -> bool:
        """Return whether an instance's skeleton is not read; count it if it is left out on purpose."""
        name = self._others.get(id(instance.skeleton))
        if name:
            self.ignored[name] += 1
        return name is not None

    def _points(self, instance: Any, place: str) -> list[PointXYV]:
        values: list[PointXYV] = [(0.0, 0.0, 0)] * self.skeleton.num_keypoints
        names = [str(node.name) for node in instance.skeleton.nodes]
        for name, xy, visible in zip(names, instance.points["xy"].tolist(), instance.points["visible"], strict=True):
            if np.isnan(xy).any():
                continue
            keypoint = self.skeleton.index.get(self.options.names.get(name, name))
            if not visible:
                self._unseen += 1
            elif name in self.options.ignore:
                self.ignored[name] += 1
            elif keypoint is None:
                self._unknown[name] += 1
            elif max(map(abs, xy)) > MAX_COORDINATE:
                rule = f"two numbers of at most {MAX_COORDINATE} px"
                self._find("E311", place, must_be(f"{name} (x, y)", rule, xy), "correct or remove the point in SLEAP")
            else:
                values[keypoint] = (xy[0], xy[1], int(Visibility.VISIBLE))
        return values

    def _rows(self, objects: Sequence[list[PointXYV]], reading: FileReading, place: str) -> Iterator[Row]:
        for points in objects:
            if self.options.box_from != "keypoints":
                self._boxless += 1
                continue
            box = box_round(points, self.options, reading.size)
            if box is None:
                message = must_be("an instance", "one with a labeled point in the image", "none")
                self._find("E306", place, message, "label more of its points")
            else:
                yield Row(box, points, place, self.skeleton.category.id)


def _is_prediction(instance: Any) -> bool:
    return type(instance).__name__ == "PredictedInstance"


def _video(names: list[str], size: tuple[int, int], sio: Any) -> Any:
    """Return a sequence of images relative to the file, not opened, as it is moved into place later."""
    width, height = size
    metadata = {
        "type": "ImageVideo",
        "filename": names[0],
        "filenames": names,
        "shape": [len(names), height, width, 3],
        "height_": height,
        "width_": width,
        "channels_": 3,
        "grayscale": False,
        "fps": None,
    }
    return sio.Video(filename=names, open_backend=False, backend_metadata=metadata)


def _instances(dataset: Dataset, rows: range, nodes: Any, sio: Any) -> Iterator[Any]:
    for row in rows:
        points = dataset.keypoints[row]
        labeled = points[:, 2:] > Visibility.NOT_LABELED
        yield sio.Instance.from_numpy(np.where(labeled, points[:, :2], np.nan), skeleton=nodes)


# How many nodes a message lists.
_LISTED_NODES = 6


def _other_skeletons(
    labels: Any, file: str, skeleton: Skeleton, options: ReadOptions
) -> tuple[Mapping[int, str], list[Finding]]:
    """Return the skeletons that are not read, and a finding on those that the user has not left out.

    The first maps the ``id`` of a skeleton to the name under which its instances are counted, empty with a finding.
    """
    instances = (one for frame in labels.labeled_frames for one in frame.instances)
    times = Counter(id(one.skeleton) for one in instances if not _is_prediction(one))
    used = {id(one): one for one in labels.skeletons if times[id(one)]}
    names = {key: str(one.name or f"skeletons[{labels.skeletons.index(one)}]") for key, one in used.items()}
    nodes = {key: [str(node.name) for node in one.nodes] for key, one in used.items()}
    wanted = set(options.categories or ()) & set(names.values())
    others = {key: name for key, name in names.items() if name in options.ignore or (wanted and name not in wanted)}
    rest = [key for key in used if key not in others]

    def fits(name: str) -> bool:
        return options.names.get(name, name) in skeleton.index or name in options.ignore

    foreign = [key for key in rest if not any(map(fits, nodes[key]))]
    if not foreign or len(foreign) == len(rest):
        # If no skeleton fits, each of their nodes is reported.
        return others, []
    listed = "; ".join(
        f"{names[key]!r} with {', '.join(nodes[key][:_LISTED_NODES])} ({times[key]} instances left out)"
        for key in foreign
    )
    fitting = list(dict.fromkeys(names[key] for key in rest if key not in foreign))
    ignore = " ".join(f"--ignore {shlex.quote(names[key])}" for key in foreign)
    message = f"a skeleton of the file must have keypoints of skeleton {skeleton.name}, got {listed}"
    hint = f"{ignore} leaves them out"
    if len(fitting) == 1:
        hint += f"; so does --categories {shlex.quote(fitting[0])}"
    finding = Finding("E301", file, "skeletons", message, hint)
    return others | dict.fromkeys(foreign, ""), [finding]
