"""Results for a few known cars: which mistake, which place, and the full message."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetools.checks.rigid import geometry
from posetools.checks.rigid.fit import Fits, Views, fit
from posetools.checks.rigid.geometry import Geometry, _Trials, _winners, check_geometry, geometry_note, study
from posetools.checks.rigid.template import rigid
from posetools.checks.structure import SoundObjects, sound_objects
from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.formats.coco.table import table_from
from posetools.formats.coco.write import category_entry
from tests.checks.rigid_cars import CAR8, TEMPLATE, facing_of, parameters, pixels_of

SIZE = np.array([640.0, 480.0])
# Seen from all sides, slightly from above, all eight points separate.
HEADINGS = np.linspace(0.35, 5.85, 14)
MIRRORED = np.array(CAR8.flip_indices)


def cars() -> Floats:
    """Return (14, 8, 3) keypoints, exact to half a pixel, occluded if turned away."""
    rng, out = np.random.default_rng(7), []
    for heading in HEADINGS:
        one = parameters(float(heading), 0.3, at=(rng.uniform(-60, 60), rng.uniform(-40, 40)), scale=60.0)
        points = pixels_of(TEMPLATE, one).T + SIZE / 2 + rng.normal(0.0, 0.5, (8, 2))
        out.append(np.column_stack([points, np.where(facing_of(TEMPLATE, one) > 0, 2, 1)]))
    return np.array(out)


def boxes_of(keypoints: Floats) -> Floats:
    return np.concatenate([keypoints[:, :, :2].min(axis=1) - 10, keypoints[:, :, :2].max(axis=1) + 10], axis=1)


BOXES = boxes_of(cars())


def studied(keypoints: Floats, boxes: Floats = BOXES) -> Geometry:
    return study(TEMPLATE, keypoints, boxes, np.tile(SIZE, (len(keypoints), 1)))


def objects_of(keypoints: Floats, skeleton: Skeleton = CAR8, boxes: Floats = BOXES) -> SoundObjects:
    annotations = [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            "area": 900.0,
            "iscrowd": 0,
            "num_keypoints": int((points[:, 2] > 0).sum()),
            "keypoints": points.ravel().tolist(),
        }
        for i, (points, box) in enumerate(zip(keypoints, boxes, strict=True))
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}]
    document = {"images": images, "annotations": annotations, "categories": [category_entry(skeleton)]}
    return sound_objects(table_from(document, Path("x.json")), skeleton)


def _views(keypoints: Floats) -> tuple[Views, Floats]:
    """Return cars as fitted, labeled with the assumed precision, and their boxes' diagonals."""
    boxes = boxes_of(keypoints)
    diagonal = np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T)
    views = Views(
        (keypoints[:, :, :2] - SIZE / 2).transpose(0, 2, 1),
        keypoints[:, :, 2],
        np.hypot(2.0, 0.01 * diagonal),
        np.full(len(keypoints), 640.0),
    )
    return views, diagonal


def _tried(keypoints: Floats, visibility: bool) -> tuple[Views, Floats, Fits, _Trials]:
    """Return the views, their diagonals, their fits as labeled, and the trials of all mistakes."""
    views, diagonal = _views(keypoints)
    plain = fit(TEMPLATE, views, visibility=visibility)
    trials = _Trials(TEMPLATE, views, plain, visibility)
    trials.run(diagonal)
    return views, diagonal, plain, trials


def _planted() -> Floats:
    """Return cars with a mistake each, or with correct labels."""
    keypoints = cars()[:10]
    keypoints[0] = keypoints[0][MIRRORED]
    keypoints[1, 2, :2] += [25.0, -70.0]
    keypoints[2] = _turned((2, 3), keypoints[2])
    keypoints[3] = _turned((5, 7), keypoints[3])
    keypoints[3, 0, 2] = 0
    keypoints[4, :, :2] = np.random.default_rng(4).uniform(100, 400, (8, 2))
    keypoints[5, 6, :2] += [3.0, 14.0]
    keypoints[6] = _turned((0, 1), keypoints[6])
    keypoints[6, 1, 2] = 0
    # So little wrong that no exchanged pair, then no misplaced point is tried; and a mirrored car of five points, which
    # fits as well where one of them is left out.
    keypoints[7, 3, 1] -= 16.0
    keypoints[8, 2, :2] += [-16.0, 16.0]
    keypoints[9] = keypoints[9][MIRRORED]
    keypoints[9, [3, 4, 6], 2] = 0
    return keypoints


def _cost(trials: _Trials, at: int, column: int, fits: Fits, rarity: float) -> float:
    """Return the cost of the mistake for a suspect, whose fit must be the stored one."""
    kept, row = trials.fit_of(at, column)
    assert kept.misfit[row] == pytest.approx(fits.misfit[0], abs=1e-3)
    return float(fits.misfit[0]) + rarity if fits.misfit[0] < geometry._POOR else np.inf


@pytest.mark.parametrize("visibility", [True, False])
def test_a_mistake_costs_its_misfit_and_its_rarity(visibility: bool) -> None:
    """Each fit is recomputed, and each rarity is as documented: one in so many."""
    views, diagonal, plain, trials = _tried(_planted(), visibility)
    margin, exchanges = geometry._MISTAKE_MARGIN, TEMPLATE.exchanges
    assert trials.suspects.tolist() == np.flatnonzero(plain.misfit > 2 * np.log(40) + margin).tolist()
    assert {0, 1, 2, 3, 4, 6, 7, 8, 9} <= set(trials.suspects.tolist())
    assert trials.totals.shape == (len(trials.suspects), len(exchanges) + 8)
    for at, row in enumerate(trials.suspects.tolist()):
        view, best = views.take(np.array([row])), np.inf

        for column, exchange in enumerate(exchanges):
            if exchange.pair is None:
                fits = fit(TEMPLATE, view.renamed(exchange.order), visibility=visibility)
                best = min(best, float(fits.misfit[0]))
                assert trials.totals[at, column] == pytest.approx(
                    _cost(trials, at, column, fits, 2 * np.log(40)), abs=1e-3
                )
        # The probability of this place among all places in a part of the box, in units of the labeling precision.
        anywhere = 2 * np.log(60 * 0.3 * diagonal[row] ** 2 / (2 * np.pi * views.sigma[row] ** 2))
        fits_of_points = []
        for k in range(8):
            if best > geometry._GOOD_FIT and views.visibility[row, k] > 0 and plain.misfit[row] > anywhere + margin:
                fits = fit(TEMPLATE, view.without(k), visibility=visibility)
                fits_of_points.append(float(fits.misfit[0]))
                expected = _cost(trials, at, len(exchanges) + k, fits, anywhere)
            else:
                expected = np.inf
            assert trials.totals[at, len(exchanges) + k] == pytest.approx(expected, abs=1e-3)
        best = min(best, *fits_of_points) if fits_of_points else best
        for column, exchange in enumerate(exchanges):
            if exchange.pair is not None:
                both = all(views.visibility[row, k] > 0 for k in exchange.pair)
                expected = np.inf
                if best > geometry._GOOD_FIT and both and plain.misfit[row] > 2 * np.log(500) + margin:
                    fits = fit(TEMPLATE, view.renamed(exchange.order), visibility=visibility)
                    expected = _cost(trials, at, column, fits, 2 * np.log(500))
                assert trials.totals[at, column] == pytest.approx(expected, abs=1e-3)


def test_exact_labels_fit_and_nothing_is_found() -> None:
    found = studied(cars())
    assert found.misfit.max() < geometry._ALL_EXCHANGED
    assert found.explanations == ()
    assert not found.impossible.any()
    assert (found.noise, found.hidden_used) == (1.0, True)


def test_each_mistake_is_found_where_it_was_made() -> None:
    """The rows before them are not checked, which must not shift the results."""
    keypoints = cars()
    keypoints[[0, 2], 3:] = 0
    keypoints[4] = keypoints[4][MIRRORED]
    right = keypoints[6, 2, :2].copy()
    keypoints[6, 2, :2] += [25.0, -70.0]
    found = studied(keypoints)
    mirrored, moved = found.explanations
    assert np.isnan(found.misfit[[0, 2]]).all()
    assert np.isfinite(np.delete(found.misfit, [0, 2])).all()
    assert (mirrored.index, mirrored.point, mirrored.shift) == (4, -1, 0.0)
    assert mirrored.exchange is not None
    assert (mirrored.exchange.kind, mirrored.exchange.pair) == ("sides", None)
    assert mirrored.labeled > 5 > 1.5 > mirrored.explained
    assert (moved.index, moved.exchange, moved.point) == (6, None, 2)
    assert np.hypot(*(moved.place - right)) < 6
    assert moved.shift == pytest.approx(np.hypot(*(moved.place - keypoints[6, 2, :2])))
    assert moved.labeled > 5 > 1.5 > moved.explained
    assert moved.turned_away == (moved.turned_away[0], 0)


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    keypoints = cars()
    keypoints[1, 3:] = 0
    for i in (3, 8, 12):
        keypoints[i] = keypoints[i][MIRRORED]
    keypoints[10, 2, :2] += [25.0, -70.0]
    whole = studied(keypoints)
    monkeypatch.setattr(geometry, "_VIEW_CHUNK", 5)
    told: list[tuple[str, int, int]] = []
    sizes = np.tile(SIZE, (len(keypoints), 1))
    parts = study(TEMPLATE, keypoints, BOXES, sizes, lambda *step: told.append(step))
    np.testing.assert_allclose(parts.misfit, whole.misfit, atol=1e-4)
    assert [one.index for one in parts.explanations] == [one.index for one in whole.explanations] == [3, 8, 10, 12]
    for one, other in zip(parts.explanations, whole.explanations, strict=True):
        np.testing.assert_allclose(one.place, other.place, atol=1e-2)
    assert told == [("fitting a rigid object", done, 13) for done in (5, 10, 13)]


@pytest.mark.parametrize(("labeled", "judged"), [(4, False), (5, True)])
def test_five_points_are_judged(labeled: int, judged: bool) -> None:
    keypoints = cars()[:1]
    keypoints[0, labeled:] = 0
    assert bool(np.isfinite(studied(keypoints, BOXES[:1]).misfit[0])) is judged


@pytest.mark.parametrize(("side", "judged"), [(11.9, False), (12.0, True)])
def test_a_diagonal_of_twenty_pixels_is_judged(side: float, judged: bool) -> None:
    box = np.array([[40.0, 50.0, 40.0 + side, 66.0]])
    assert bool(np.isfinite(studied(cars()[:1], box).misfit[0])) is judged


def test_numbers_that_are_none_are_not_judged() -> None:
    keypoints, boxes = cars(), BOXES.copy()
    keypoints[2, 1, 0] = np.nan
    keypoints[3, 1, 1] = np.inf
    boxes[5, 2] = np.nan
    boxes[6, 3] = np.inf
    assert np.flatnonzero(np.isnan(studied(keypoints, boxes).misfit)).tolist() == [2, 3, 5, 6]


def test_the_image_is_as_long_as_its_longer_side_or_as_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def spy(_: object, views: Views, *__: object, **___: object) -> None:
        seen["views"] = views
        raise InterruptedError

    monkeypatch.setattr(geometry, "fit", spy)
    boxes = np.array([[0.0, 0.0, 300.0, 400.0], [0.0, 0.0, 30.0, 40.0]])
    sizes = np.array([[100.0, 200.0], [700.0, 300.0]])
    with pytest.raises(InterruptedError):
        study(TEMPLATE, cars()[:2], boxes, sizes)
    assert seen["views"].longest.tolist() == [500.0, 700.0]
    np.testing.assert_allclose(seen["views"].sigma, np.hypot(2.0, [5.0, 0.5]))
    np.testing.assert_allclose(seen["views"].points, (cars()[:2, :, :2] - sizes[:, None] / 2).transpose(0, 2, 1))
    assert seen["views"].visibility.tolist() == cars()[:2, :, 2].tolist()


def _noisy(pixels: float, count: int = 14) -> Floats:
    keypoints = cars()[:count]
    keypoints[:, :, :2] += np.random.default_rng(1).normal(0.0, pixels, (count, 8, 2))
    return keypoints


def test_how_exactly_a_set_is_labeled_is_told_by_ten_objects() -> None:
    assert studied(_noisy(12.0, 9), BOXES[:9]).noise == 1.0
    ten, all_of_them = studied(_noisy(12.0, 10), BOXES[:10]).noise, studied(_noisy(12.0)).noise
    assert 2 < ten < 6
    assert 2 < all_of_them < 6
    # Twice as coarse is twice the noise; exact labels have the assumed precision.
    assert studied(_noisy(24.0)).noise == pytest.approx(2 * all_of_them, rel=0.3)
    assert studied(_noisy(1.0)).noise == 1.0


def test_coarse_labels_fit_as_usual_once_the_noise_is_known() -> None:
    found = studied(_noisy(12.0))
    assert np.median(found.misfit) < 2 * geometry._USUAL_MISFIT
    assert found.explanations == ()


def test_the_noise_is_just_so_large_that_the_median_object_fits_as_usual() -> None:
    views, _ = _views(_noisy(12.0))
    noise = geometry._noise(TEMPLATE, views)

    def median(factor: float) -> float:
        return float(np.median(fit(TEMPLATE, replace(views, sigma=views.sigma * factor), visibility=False).misfit))

    assert median(noise) < geometry._USUAL_MISFIT < median(noise / 1.2)


def test_objects_with_hidden_corners_do_not_say_how_exactly_a_set_is_labeled() -> None:
    keypoints = _noisy(12.0)
    keypoints[:, 6:] = 0
    assert studied(keypoints).noise == 1.0
    keypoints[:, 6] = _noisy(12.0)[:, 6]
    assert studied(keypoints).noise > 1.5


def test_a_mirrored_set_is_not_called_coarse_and_a_mixed_one_neither() -> None:
    assert studied(cars()[:, MIRRORED]).noise == 1.0
    mixed = cars()
    mixed[::2] = mixed[::2][:, MIRRORED]
    assert studied(mixed).noise == 1.0


@pytest.mark.parametrize("order", [np.arange(8), MIRRORED])
def test_what_is_visible_does_not_say_how_exactly_a_set_is_labeled(order: Ints) -> None:
    keypoints = cars()[:, order]
    keypoints[:, :, 2] = 3 - keypoints[:, :, 2]
    assert studied(keypoints).noise == 1.0


def test_places_are_those_in_each_objects_own_image() -> None:
    keypoints = cars()
    for index in (3, 6, 11):
        keypoints[index, 2, :2] += [25.0, -70.0]
    whole = studied(keypoints).explanations
    assert [one.index for one in whole] == [3, 6, 11]
    # The same cars in images of which each is larger than the one before.
    aside = np.arange(len(keypoints))[:, None] * np.array([4.0, 3.0])
    keypoints[:, :, :2] += aside[:, None]
    moved = study(TEMPLATE, keypoints, BOXES + np.tile(aside, 2), SIZE + 2 * aside).explanations
    for one, other in zip(whole, moved, strict=True):
        assert np.hypot(*(other.place - aside[one.index] - one.place)) < 3


def _turned(pair: tuple[int, int], keypoints: Floats) -> Floats:
    order = np.arange(8)
    order[list(pair)] = pair[::-1]
    turned: Floats = keypoints[order]
    return turned


# A car with separate points, by the swapped pair.
PAIRS = [((0, 4), "W215"), ((2, 3), "W216"), ((5, 7), "W219")]


def test_two_points_with_each_others_names() -> None:
    # Among four times as many correct cars.
    swapped = [_turned(pair, each) for pair, _ in PAIRS for each in cars()]
    keypoints = np.concatenate([*[cars()] * (4 * len(PAIRS)), swapped])
    boxes, right = boxes_of(keypoints), len(keypoints) - len(swapped)
    findings = {finding.place: finding for finding in check_geometry(objects_of(keypoints, boxes=boxes), CAR8)}
    forms, told = set(), Counter[str]()
    for one in studied(keypoints, boxes).explanations:
        assert one.index >= right
        pair, code = PAIRS[(one.index - right) // len(HEADINGS)]
        finding = findings.pop(f"annotations[{one.index}] (id {one.index + 1})")
        if finding.code != code:
            continue
        before, after = one.turned_away
        seen = (f" and {before} visible on sides turned away", f" and {after}") if before > after else ("", "")
        assert (finding.message, finding.hint) == (
            f"{CAR8.names[pair[0]]} and {CAR8.names[pair[1]]} must fit a rigid car, got points "
            f"{one.labeled:.1f} px (rms) off{seen[0]} as labeled, {one.explained:.1f} px{seen[1]} with the two "
            "swapped",
            "check the image, and swap the names of the two points",
        )
        forms.add(before > after)
        told[code] += 1
    assert {finding.code for finding in findings.values()} <= {"W218"}
    # In most views the other points decide; if they do not, nothing is reported.
    assert min(told[code] for _, code in PAIRS) >= 4
    assert forms == {True, False}


def test_a_point_that_is_not_labeled_has_no_name_to_exchange() -> None:
    keypoints = cars()
    # Too near its place to count as misplaced; with the other's name it would fit.
    keypoints[0, 4, 1] += 22.0
    keypoints[0, 6, 2] = 0
    assert studied(keypoints).explanations == ()


def test_what_is_said_of_a_mirrored_and_of_a_misplaced_car() -> None:
    keypoints = cars()
    keypoints[4] = keypoints[4][MIRRORED]
    keypoints[6, 2, :2] += [25.0, -70.0]
    keypoints[6, 3] = 0
    mirrored, moved = studied(keypoints).explanations
    before, after = mirrored.turned_away
    assert before > after == 0
    x, y = keypoints[6, 2, :2]
    assert list(check_geometry(objects_of(keypoints), CAR8)) == [
        Finding(
            "W215",
            "x.json",
            "annotations[4] (id 5)",
            f"the names must fit a rigid car, got points {mirrored.labeled:.1f} px (rms) off and {before} "
            f"visible on sides turned away as labeled, {mirrored.explained:.1f} px and 0 with left and right "
            "swapped, or front and rear",
            "check the image: swap left and right, or, if the front is labeled as the rear, front and rear; geometry "
            "cannot distinguish the two",
        ),
        Finding(
            "W217",
            "x.json",
            "annotations[6] (id 7)",
            f"left-front-tire must be near ({moved.place[0]:.1f}, {moved.place[1]:.1f}) by the other 6 points, "
            f"got ({x:.1f}, {y:.1f}), {moved.shift:.0f} px off",
            "move the point, or check whether it belongs to another object",
        ),
    ]


def test_points_that_cannot_be_seen_together() -> None:
    keypoints = cars()
    keypoints[1, :, 2] = [0, 1, 2, 0, 1, 1, 2, 1]
    # Only the mistake that explains it is reported.
    keypoints[4] = keypoints[4][MIRRORED]
    keypoints[4, :, 2] = 2
    found = list(check_geometry(objects_of(keypoints), CAR8))
    assert [finding.code for finding in found] == ["W215", "W218"]
    assert found[1] == Finding(
        "W218",
        "x.json",
        "annotations[1] (id 2)",
        "visible points must be on sides that can be seen together, got left-front-tire, right-front-tire",
        "set points on the far side to visibility 1 (occluded), or check for swapped names",
    )
    seen = studied(keypoints).impossible
    assert np.flatnonzero(seen).tolist() == [1, 4]
    keypoints[:, :, 2] = 2
    assert not studied(keypoints).impossible.any()
    assert not studied(keypoints).hidden_used


def test_without_hidden_points_visibility_does_not_count() -> None:
    keypoints = cars()
    keypoints[:, :, 2] = 2
    assert studied(keypoints).misfit.max() < geometry._ALL_EXCHANGED


def test_with_hidden_points_a_mistake_must_explain_those_too() -> None:
    keypoints = cars()
    keypoints[[4, 7]] = keypoints[[4, 7]][:, MIRRORED]
    # With left and right swapped the places are right, and all points turned away are visible.
    keypoints[4, :, 2] = 3 - keypoints[4, :, 2]
    assert [one.index for one in studied(keypoints).explanations] == [7]


def test_nothing_is_said_without_a_template_or_without_objects() -> None:
    plain = CAR8.model_copy(update={"template": None})
    mirrored = cars()[:, MIRRORED]
    assert list(check_geometry(objects_of(mirrored, plain), plain)) == []
    assert list(check_geometry(objects_of(mirrored[:0], boxes=BOXES[:0]), CAR8)) == []
    told: list[tuple[str, int, int]] = []
    list(check_geometry(objects_of(cars()), CAR8, lambda *step: told.append(step)))
    assert told == [("fitting a rigid object", 14, 14)]


def test_what_is_not_checked_is_said() -> None:
    plain = CAR8.model_copy(update={"template": None})
    assert geometry_note(plain) == ("geometry not checked: skeleton car8 has no template (docs/geometry.md)",)
    assert geometry_note(load_skeleton("coco17")) == (
        "geometry not checked: skeleton coco17 has no template (docs/geometry.md)",
    )
    assert geometry_note(CAR8) == ()
    assert geometry_note(_of_points(5)) == ()
    assert geometry_note(_of_points(4)) == ("geometry not checked: it needs 5 keypoints, skeleton few has fewer",)


def _of_points(number: int) -> Skeleton:
    names = [f"p{i}" for i in range(number)]
    return Skeleton.model_validate(
        {
            "name": "few",
            "category": {"name": "few"},
            "keypoints": [{"name": name} for name in names],
            "sigmas": [0.05] * number,
            "joint_weights": [1.0] * number,
            "template": {"points": [{"name": name, "at": [float(i), 0.0, 1.0]} for i, name in enumerate(names)]},
        }
    )


def _wins(totals: list[float], plain: float = 100.0) -> list[tuple[int, int]]:
    """Return the winner of one row: the misfits of the columns named, all others far away."""
    every = np.full((1, len(TEMPLATE.exchanges) + 8), 90.0)
    every[0, : len(totals)] = totals
    return list(_winners(TEMPLATE, every, np.array([plain])))


def test_a_mistake_wins_by_a_margin_over_none_and_over_all_others() -> None:
    margin = geometry._MISTAKE_MARGIN
    assert _wins([50.0]) == [(0, 0)]
    assert _wins([50.0], plain=50.0 + margin) == []
    assert _wins([50.0], plain=50.1 + margin) == [(0, 0)]
    # All sides and all ends are one mistake, represented by the first; neighbors are another.
    assert _wins([60.0, 50.0]) == _wins([50.0, 51.0]) == [(0, 0)]
    assert _wins([60.0, 60.0, 50.0]) == [(0, 2)]
    assert _wins([50.0, 60.0, 50.0 + margin]) == []
    assert _wins([50.0, 60.0, 50.1 + margin]) == [(0, 0)]
    assert _wins([60.0, 60.0, 60.0, 50.0]) == [(0, 3)]
    assert _wins([np.inf] * 3) == []
    rows = np.full((3, len(TEMPLATE.exchanges) + 8), np.inf)
    rows[2, -1] = 20.0
    assert list(_winners(TEMPLATE, rows, np.full(3, 100.0))) == [(2, rows.shape[1] - 1)]


def test_a_point_is_misplaced_from_a_tenth_of_the_diagonal_on() -> None:
    """Of points moved further and further, the first one reported is about a tenth of the diagonal off."""
    diagonal = np.hypot(*(BOXES[6, 2:] - BOXES[6, :2]))
    shifts = []
    for share in np.linspace(0.02, 0.3, 15):
        keypoints = cars()
        keypoints[6, 2, :2] += share * diagonal * np.array([0.3, -0.95])
        shifts += [one.shift for one in studied(keypoints).explanations]
    assert len(shifts) >= 6
    assert min(shifts) >= 0.1 * diagonal


def _swapped(index: int) -> Floats:
    keypoints = cars()
    keypoints[index] = keypoints[index][MIRRORED]
    return keypoints


@pytest.mark.parametrize(("share", "found"), [(0.999, 1), (1.001, 0)])
def test_a_point_that_is_nearer_is_not_called_misplaced(
    monkeypatch: pytest.MonkeyPatch, share: float, found: int
) -> None:
    keypoints = cars()
    keypoints[6, 2, :2] += [25.0, -70.0]
    (one,) = studied(keypoints).explanations
    diagonal = np.hypot(*(BOXES[6, 2:] - BOXES[6, :2]))
    monkeypatch.setattr(geometry, "LEAST_SHIFT", share * one.shift / diagonal)
    assert len(studied(keypoints).explanations) == found


def test_a_misfit_counts_what_is_visible_where_the_set_marks_hidden_points() -> None:
    keypoints = cars()
    keypoints[3, :, 2] = 3 - keypoints[3, :, 2]
    some = studied(keypoints)
    assert some.misfit[3] > 20 + np.delete(some.misfit, 3).max()
    keypoints[:, :, 2] = 2
    assert studied(keypoints).misfit.max() < geometry._ALL_EXCHANGED


def test_front_and_rear_exchanged_is_the_same_mistake() -> None:
    ends = TEMPLATE.exchanges[1].order
    keypoints = cars()
    keypoints[9] = keypoints[9][ends]
    (one,) = studied(keypoints).explanations
    assert one.index == 9
    assert one.exchange is TEMPLATE.exchanges[0]


def test_labels_that_no_mistake_explains_are_left_alone() -> None:
    rng, keypoints = np.random.default_rng(4), cars()
    keypoints[3, :, :2] = rng.uniform(100, 400, (8, 2))
    found = studied(keypoints)
    assert [one.index for one in found.explanations] == []
    assert found.misfit[3] > 100


def test_visible_everywhere_is_a_template_of_points_alone() -> None:
    assert CAR8.template is not None
    document = CAR8.model_dump()
    for point in document["template"]["points"]:
        point["faces"] = []
    document["template"]["faces"] = []
    bare = rigid(Skeleton.model_validate(document))
    assert bare is not None
    keypoints = _swapped(4)
    keypoints[:, :, 2] = np.tile([1, 2], 4)
    found = study(bare, keypoints, BOXES, np.tile(SIZE, (14, 1)))
    impossible: Bools = found.impossible
    assert not impossible.any()
    assert [one.index for one in found.explanations] == [4]
