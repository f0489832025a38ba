"""The rules: values and reasons from data and machine."""

from __future__ import annotations

from typing import Any

import pytest

from posetools.core.categories import Categories
from posetools.core.skeleton import load_skeleton
from posetools.recipes.budget import enough_iterations
from posetools.recipes.choose import choose
from posetools.recipes.facts import DataFacts, Shapes, SplitFacts
from posetools.recipes.machine import GIB, Gpu, Machine
from posetools.recipes.options import DetOptions, PoseOptions, RecipeOptions
from posetools.recipes.recipe import Choice, Measurement, Recipe, Ruling, cpu_seconds

CAR8 = load_skeleton("car8")
CPU, A10, H200 = Machine(2), Machine(16, (Gpu("A10", 24 * GIB),)), Machine(16, (Gpu("H200", 139 * GIB),))


def facts(
    images: int = 1000,
    objects: int = 2000,
    *,
    size: tuple[int, int] = (1920, 1080),
    portrait: float = 0.0,
    smallest: float = 80,
    box: tuple[float, float] = (300, 250),
) -> DataFacts:
    """Facts of a data set: ``smallest`` is the 10th percentile of the objects' sides."""
    shapes = Shapes(
        width=size[0],
        height=size[1],
        aspect=size[0] / size[1],
        portrait=portrait,
        side=(smallest, 2 * smallest, 3 * smallest),
        relative_side=smallest / max(size),
        small=0.1,
        box_long=max(box),
        box_aspect=box[0] / box[1],
        points=(5, 2, 1),
    )
    return DataFacts(SplitFacts(images, 0, objects, objects), SplitFacts(100, 0, 200, 200), shapes)


def recipe(
    data: DataFacts | None = None,
    machine: Machine = A10,
    measured: dict[str, Measurement] | None = None,
    **options: Any,
) -> Recipe:
    return choose(RecipeOptions.model_validate(options), data or facts(), machine, Categories.of(CAR8), measured)


@pytest.mark.parametrize(
    ("data", "machine", "size", "reason"),
    [
        (facts(), A10, (640, 384), "1920x1080"),
        (facts(size=(1080, 1920)), A10, (384, 640), "1080x1920"),
        (facts(size=(640, 640)), A10, (640, 640), "640x640"),
        (facts(portrait=0.4), A10, (640, 640), "40 % of them are portrait"),
        (facts(size=(320, 240), smallest=30), A10, (320, 256), "320x240"),
        (facts(smallest=30), A10, (1024, 576), "the 10 % smallest objects are"),
        (facts(smallest=10), A10, (1280, 736), "the 10 % smallest objects are"),
        (facts(size=(800, 600), smallest=3), A10, (800, 608), "the 10 % smallest objects are"),
        (facts(), CPU, (640, 384), "for the CPU"),
        (facts(size=(320, 240), smallest=45), CPU, (256, 192), "the 10 % smallest objects are 36 px"),
        (facts(smallest=200), CPU, (320, 192), "for the CPU"),
        (facts(smallest=10), CPU, (640, 384), "for the CPU"),
    ],
)
def test_the_detectors_input_fits_images_and_small_objects(
    data: DataFacts, machine: Machine, size: tuple[int, int], reason: str
) -> None:
    found = recipe(data, machine).det
    assert found.input_size == size
    assert reason in found.because["input_size"].reason


@pytest.mark.parametrize(
    ("box", "machine", "size"),
    [
        ((300, 250), A10, (256, 256)),
        ((300, 250), CPU, (160, 160)),
        ((90, 80), A10, (128, 128)),
        ((120, 110), CPU, (160, 160)),
        ((300, 150), A10, (256, 192)),
        ((150, 300), A10, (192, 256)),
        ((100, 50), CPU, (128, 96)),
    ],
)
def test_the_pose_input_fits_the_boxes(box: tuple[float, float], machine: Machine, size: tuple[int, int]) -> None:
    found = recipe(facts(box=box), machine).pose
    assert found.input_size == size
    assert f"{1.25 * max(box):.0f} px long" in found.because["input_size"].reason


@pytest.mark.parametrize(
    ("machine", "data", "det", "pose"),
    [
        (CPU, facts(), 8, 8),
        (CPU, facts(5, 7), 5, 7),
        (A10, facts(100_000, 200_000), 32, 128),
        (H200, facts(100_000, 200_000), 32, 256),
        (Machine(8, (Gpu("small", 6 * GIB),)), facts(100_000, 200_000), 8, 32),
        (Machine(8, (Gpu("unknown"),)), facts(100_000, 200_000), 8, 64),
        (A10, facts(300, 600), 8, 32),
        (A10, facts(3, 6), 3, 6),
    ],
)
def test_the_batch_fits_memory_and_data(machine: Machine, data: DataFacts, det: int, pose: int) -> None:
    found = recipe(data, machine)
    assert (found.det.batch_size, found.pose.batch_size) == (det, pose)


@pytest.mark.parametrize("objects", [5, 54, 2000])
def test_batches_are_small_on_a_cpu_and_see_as_many_samples_as_larger_ones(objects: int) -> None:
    found = recipe(facts(objects, objects), CPU)
    assert (found.det.batch_size, found.pose.batch_size) == (min(8, objects), min(8, objects))
    assert ("more iterations in the same time" in found.pose.because["batch_size"].reason) is (objects > 5)
    full = enough_iterations("pose", 100_000, 32) * 32
    assert enough_iterations("pose", 100_000, 8) * 8 == full == 12_000 * 32
    assert enough_iterations("det", 100_000, 8) == 12_000


def test_a_measured_batch_wins_over_the_estimate_and_no_gpu_is_said() -> None:
    seen: dict[str, Measurement] = {"det": Measurement(batch=64, batch_note="measured (64: 18.0 GiB)")}
    found = recipe(measured=seen, det={"batch_size": "auto"}).det
    assert (found.batch_size, found.because["batch_size"].reason) == (64, "measured (64: 18.0 GiB)")
    none: dict[str, Measurement] = {"det": Measurement(batch_note="auto needs a GPU, and none is available")}
    found = recipe(machine=CPU, measured=none, det={"batch_size": "auto"}).det
    assert found.batch_size == 8
    assert "auto needs a GPU, and none is available" in found.because["batch_size"].reason
    assert "batch_size" not in found.stated


def test_a_gpu_run_aims_at_iterations_and_bounds_passes_and_epochs() -> None:
    middle = recipe(facts(1000, 2000)).det
    assert middle.epochs * -(-1000 // middle.batch_size) == pytest.approx(12_000, rel=0.01)
    large = recipe(facts(118_000, 262_000)).det
    assert (large.epochs, large.because["epochs"].reason) == (12, "at least 12; 3688 iterations each")
    few = recipe(facts(16, 40)).det
    assert few.repeat * few.epochs == pytest.approx(600, rel=0.05)
    assert few.repeat > 1
    assert few.augmentation == "light"
    assert few.epochs >= 10


def test_a_cpu_run_takes_about_an_hour_and_the_detector_two_thirds_of_it() -> None:
    small: dict[str, Any] = {"det": {"size": "tiny"}, "pose": {"size": "t"}}
    data = facts(size=(320, 240), smallest=45, box=(90, 80))
    found = recipe(data, CPU, **small)
    for said, stage in ((DetOptions(size="tiny"), found.det), (PoseOptions(size="t"), found.pose)):
        samples = 1000 if isinstance(said, DetOptions) else 2000
        each = cpu_seconds(said, stage.input_size, stage.batch_size, 2)
        seconds = each * stage.epochs * -(-samples * stage.repeat // stage.batch_size)
        minutes = 37.8 if isinstance(said, DetOptions) else 20.4
        assert seconds / 60 == pytest.approx(minutes, rel=0.1)
        assert f"{minutes} min at" in stage.because["epochs"].reason
        assert "estimate for 2 cores, no GPU" in stage.because["epochs"].reason
    assert recipe(data, Machine(4), **small).det.epochs > found.det.epochs


def test_the_estimate_is_what_was_measured() -> None:
    assert cpu_seconds(DetOptions(size="tiny"), (256, 192), 8, 2) == pytest.approx(0.43, rel=0.05)
    assert cpu_seconds(PoseOptions(size="t"), (128, 128), 32, 2) == pytest.approx(0.27, rel=0.05)
    nano, tiny = (cpu_seconds(DetOptions(size=size), (256, 256), 8, 2) for size in ("nano", "tiny"))
    assert nano / tiny == pytest.approx(0.50 / 1.1, rel=0.05)


def test_stated_minutes_and_measured_seconds_give_the_epochs() -> None:
    seen: dict[str, Measurement] = {
        "det": Measurement(seconds=2.0, seconds_batch=8, start_up=300),
        "pose": Measurement(seconds=1.0, seconds_batch=32),
    }
    options: dict[str, Any] = {"det": {"batch_size": 8}, "pose": {"batch_size": 16}}
    found = recipe(facts(800, 1600), CPU, seen, minutes=40, **options)
    # (0.63 * 2400 - 300) s / 2 s; 0.34 * 2400 s, and half the seconds for half the batch.
    assert found.det.epochs == round(606 / 100)
    assert found.pose.epochs == round(1632 / 100)
    assert (found.det.minutes, found.pose.minutes) == pytest.approx((25.2, 13.6))
    assert found.det.because["epochs"].reason == (
        "25.2 min at 2 s per iteration plus 300 s (measured); 100 iterations each"
    )


def test_a_slow_machine_gives_the_pose_estimator_up_to_half_of_the_time() -> None:
    for seconds, pose in ((0.1, 0.34), (0.576, 0.4), (2.0, 0.485)):
        seen: dict[str, Measurement] = {"pose": Measurement(seconds=seconds, seconds_batch=32)}
        found = recipe(facts(800, 1600), CPU, seen, minutes=9)
        assert (found.pose.share, found.det.share) == pytest.approx((pose, 0.97 - pose))
    assert recipe(facts(800, 1600)).det.share is None


RANDOM: dict[str, Any] = {"size": "tiny", "load_from": "none", "backbone": "none"}


def test_a_short_run_from_random_weights_begins_at_half_the_input_size() -> None:
    seen: dict[str, Measurement] = {"det": Measurement(seconds=1.0, early=0.4, seconds_batch=8, epoch_start=1.0)}
    options: dict[str, Any] = {"minutes": 18, "det": {**RANDOM, "input_size": "256x192"}}
    chosen = recipe(facts(270, 270), CPU, seen, **options)
    found = chosen.det
    assert (found.augmentation, found.repeat, found.early_size, found.early_cost) == ("light", 1, (128, 96), 0.4)
    # 34 iterations and a second: 35 s, and 14.6 s at the early size. Of the 1,080 s the detector has at least 48.5 %.
    seconds = 60 * (found.minutes or 0)
    assert 523 < seconds < 681

    def duration(epochs: int) -> float:
        return epochs // 3 * 35 + (epochs - epochs // 3) * 14.6

    assert duration(found.epochs) <= seconds < duration(found.epochs + 1)
    assert found.stage2_epochs == found.epochs // 3
    # As long as so many iterations at the full size.
    assert found.full_iterations == pytest.approx(duration(found.epochs) - found.epochs)
    assert "at 1 s per iteration, 0.4 s at 128x96 (measured)" in found.because["epochs"].reason
    (row,) = (row for row in chosen.choices if row.field == "early_size")
    assert (row.model, row.stock, row.chosen) == ("det", "off", "128x96")
    assert "0.4 of the time (measured)" in row.reason
    assert "a bbox mAP of 0.18, 11 epochs at 256x256, which take as long, 0.12" in row.reason


@pytest.mark.parametrize(
    ("size", "early"), [((192, 192), (96, 96)), ((320, 224), (160, 128)), ((256, 160), None), ((640, 640), (320, 320))]
)
def test_half_the_size_fits_the_network_and_is_not_too_small(
    size: tuple[int, int], early: tuple[int, int] | None
) -> None:
    seen: dict[str, Measurement] = {"det": Measurement(seconds=1.0, seconds_batch=8)}
    found = recipe(facts(270, 270), CPU, seen, minutes=18, det={**RANDOM, "input_size": size}).det
    assert found.early_size == early
    # Not measured: half of the time.
    assert found.early_cost == 0.5


@pytest.mark.parametrize(
    ("machine", "minutes", "said"),
    [
        (CPU, 18, {"load_from": "coco", "backbone": "none"}),
        (CPU, 18, {"load_from": "none", "backbone": "stock"}),
        (CPU, 18, {"augmentation": "strong"}),
        (CPU, 18, {"stage2_epochs": 3}),
        (CPU, 18, {"epochs": 20}),
        (CPU, 18, {"repeat": 2}),
        (CPU, 4, {}),
        (A10, None, {"augmentation": "light"}),
    ],
)
def test_any_other_run_has_one_input_size(machine: Machine, minutes: float | None, said: dict[str, Any]) -> None:
    seen: dict[str, Measurement] = {"det": Measurement(seconds=1.0, early=0.5, seconds_batch=8)}
    det = {**RANDOM, "batch_size": 8, "input_size": 256, **said}
    found = recipe(facts(270, 270), machine, seen, minutes=minutes, det=det)
    assert found.det.early_size is found.pose.early_size is None
    assert "early_size" not in {row.field for row in found.choices}


def test_half_the_size_must_save_time() -> None:
    for early, size in ((0.7, (128, 128)), (0.8, None)):
        seen: dict[str, Measurement] = {"det": Measurement(seconds=1.0, early=early, seconds_batch=8)}
        assert recipe(facts(270, 270), CPU, seen, minutes=18, det={**RANDOM, "input_size": 256}).det.early_size == size


def test_only_a_pose_estimator_like_the_detector_gets_its_backbone() -> None:
    for det, pose, backbone in (("tiny", "t", "detector"), ("m", "m", "detector"), ("tiny", "s", "none")):
        found = recipe(det={"size": det}, pose={"size": pose, "backbone": "detector", "load_from": "none"}).pose
        assert found.backbone == backbone
        assert f"RTMDet-{det}" in found.because["backbone"].reason


def test_an_epoch_is_the_same_whether_their_number_is_stated_or_not() -> None:
    """--epochs must not change the length of an epoch: 36 images give 5 iterations, and an epoch has 10 passes."""
    for images, objects, machine in ((36, 60, CPU), (36, 60, A10), (200, 400, CPU), (200, 400, A10), (900, 900, A10)):
        data = facts(images, objects)
        for stage in ("det", "pose"):
            free = getattr(recipe(data, machine), stage)
            for epochs in (1, free.epochs, 30, 500):
                options: dict[str, Any] = {stage: {"epochs": epochs}}
                said = getattr(recipe(data, machine, **options), stage)
                assert (said.repeat, said.epochs) == (free.repeat, epochs)
                if epochs == free.epochs:
                    assert said.because["iterations"] == free.because["iterations"]
    assert recipe(facts(36, 60), CPU, det={"epochs": 30}).det.because["iterations"] == Ruling(
        30 * 27, "30 epochs of 27: 36 images, 6 times per epoch"
    )
    # Fifty passes over 36 images are too few for mosaic, which a RepeatDataset could not switch off.
    assert recipe(facts(36, 60), A10, det={"epochs": 500}).det.augmentation == "light"


def test_evaluations_take_their_part_of_short_minutes_and_no_more() -> None:
    options: dict[str, Any] = {"minutes": 5, "det": {"size": "tiny"}, "pose": {"size": "t"}}
    for each, most in ((0.1, 20), (1.5, 6), (3.0, 3), (30.0, 2)):
        measured = Measurement(seconds=0.4, seconds_batch=8, start_up=10, epoch_start=0.2, evaluation=each)
        found = recipe(facts(36, 60), CPU, {"det": measured}, **options).det
        count = -(-found.epochs // found.val_interval)
        assert 1 <= count <= most
        seconds = 10 + found.epochs * (0.2 + 0.4 * -(-36 * found.repeat // 8)) + count * each
        assert seconds == pytest.approx(60 * (found.minutes or 0), rel=0.1)


def test_short_runs_are_light_and_long_ones_strong() -> None:
    for epochs, kind in ((20, "light"), (400, "strong")):
        found = recipe(facts(800, 1600), det={"epochs": epochs, "batch_size": 8}).det
        assert found.augmentation == kind
        assert found.stage2_epochs == (epochs if kind == "light" else 20)
    assert recipe(det={"stage2_epochs": 2, "epochs": 10}).det.augmentation == "strong"


@pytest.mark.parametrize(
    ("epochs", "stage2", "interval"), [(1, 0, 1), (9, 0, 1), (10, 1, 1), (50, 5, 5), (199, 19, 10), (1000, 20, 10)]
)
def test_stage_2_and_evaluations_follow_the_epochs(epochs: int, stage2: int, interval: int) -> None:
    found = recipe(det={"epochs": epochs, "augmentation": "strong"}).det
    assert (found.stage2_epochs, found.val_interval) == (stage2, interval)


def test_stated_epochs_of_stage_2_are_all_run() -> None:
    assert recipe(facts(5000, 9000), CPU, det={"stage2_epochs": 77}).det.epochs == 77


def test_pretrained_weights() -> None:
    found = recipe()
    assert found.det.load_from
    assert found.det.load_from.endswith("rtmdet_m_8xb32-300e_coco_20220719_112220-229f527c.pth")
    assert (found.det.backbone, found.pose.load_from, found.pose.backbone) == ("none", None, "stock")
    for said in ({"backbone": "none"}, {"backbone": "stock"}, {"load_from": "none"}):
        assert recipe(det=said).det.load_from is None
    assert recipe(det={"load_from": "own.pth"}).det.backbone == "none"
    assert recipe(det={"batch_size": 64}).det.lr == pytest.approx(0.004 / 2 / 2)
    assert recipe(det={"batch_size": 64, "load_from": "none"}).det.lr == pytest.approx(0.004 / 2)


def test_nano_starts_from_weights_for_people() -> None:
    nano = {(row.model, row.field): row for row in recipe(det={"size": "nano"}).choices}
    weights = nano["det", "load_from"]
    assert weights.chosen == "coco"
    assert "these weights know people, and their backbone and neck serve other objects too" in weights.reason
    assert nano["det", "input_size"].stock == "320x320"


def test_loaders_leave_cores_to_a_cpu_and_share_them_between_gpus() -> None:
    assert [recipe(machine=Machine(cores)).workers for cores in (1, 2, 4, 64)] == [1, 1, 2, 4]
    gpus = (Gpu("A", GIB),) * 4
    assert [recipe(machine=Machine(cores, gpus)).workers for cores in (2, 8, 64)] == [1, 2, 8]


STATED: dict[str, dict[str, Any]] = {
    "input_size": {"input_size": 320},
    "epochs": {"epochs": 7},
    "repeat": {"repeat": 1},
    "augmentation": {"augmentation": "light"},
    "stage2_epochs": {"stage2_epochs": 3},
    "batch_size": {"batch_size": 5},
    "val_batch_size": {"val_batch_size": 3},
    "lr": {"lr": 0.123},
    "warmup_iters": {"warmup_iters": 17},
    "val_interval": {"val_interval": 6},
    "ema_momentum": {"ema": False},
    "backbone": {"backbone": "own.pth"},
    "load_from": {"load_from": "own.pth"},
    "freeze": {"freeze": "none"},
    "size": {"size": "s"},
}


@pytest.mark.parametrize("field", STATED)
@pytest.mark.parametrize("stage", ["det", "pose"])
def test_what_is_stated_wins_and_is_marked_so(stage: str, field: str) -> None:
    said: dict[str, Any] = {stage: STATED[field]}
    found = recipe(**said)
    marked = [(row.model, row.field) for row in found.choices if row.stated]
    assert marked == [(stage, field)]
    row = next(row for row in found.choices if row.stated)
    assert row.reason == "set by you"
    value = next(iter(STATED[field].values()))
    assert row.chosen == {"input_size": "320x320", "ema_momentum": "off", "lr": "0.12"}.get(field, str(value))


def test_every_line_has_a_stock_value_and_a_reason() -> None:
    def check(row: Choice) -> None:
        assert row.chosen
        assert row.reason
        assert row.stock or row.field == "size"

    rows = recipe().choices
    for row in rows:
        check(row)
    fields = [row.field for row in rows]
    assert len(fields) == 2 * 17 + 4 + 2
    assert [row.chosen for row in rows if row.field == "load_from"] == ["coco", "off"]
