"""The fit of a rigid object, against a point by point reference, and against known objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posetools.checks.rigid import fit as geometry_fit
from posetools.checks.rigid.fit import (
    FACING_EDGE,
    HIDDEN_BEFORE,
    VISIBLE_BEHIND,
    Fits,
    Views,
    _minimize,
    _SeenObjects,
    _start,
    _surprise,
    _system,
    fit,
)
from posetools.checks.rigid.template import Body
from posetools.core.geometry import Floats
from tests.checks.rigid_cars import (
    MODES,
    TEMPLATE,
    camera_axes,
    camera_place,
    facing_of,
    parameters,
    pixels_of,
    residuals,
    some_parameters,
    spread_of_height,
    views_of,
)

HIGH, LOW = some_parameters(6, 1), some_parameters(6, 2, low=True)
EVERY = np.concatenate([HIGH, LOW])


def _labeled(every: Floats, seed: int = 3) -> Views:
    """Return the views with noise, and with all three visibilities."""
    views, rng = views_of(TEMPLATE, every), np.random.default_rng(seed)
    return replace(
        views,
        points=views.points + rng.normal(0.0, 3.0, views.points.shape),
        visibility=rng.integers(0, 3, views.visibility.shape).astype(np.float64),
        sigma=rng.uniform(1.0, 4.0, len(views)),
        longest=rng.uniform(500.0, 900.0, len(views)),
    )


def test_points_are_seen_where_a_pinhole_camera_sees_them() -> None:
    seen = _SeenObjects(TEMPLATE, EVERY)
    np.testing.assert_allclose(seen.axes, [camera_axes(one) for one in EVERY], atol=1e-12)
    np.testing.assert_allclose(seen.pixels, [pixels_of(TEMPLATE, one) for one in EVERY], atol=1e-9)
    np.testing.assert_allclose(seen.facing(TEMPLATE), [facing_of(TEMPLATE, one) for one in EVERY], atol=1e-12)


def test_what_lies_behind_the_camera_is_kept_before_it() -> None:
    near = parameters(scale=900.0, focal=400.0)[None]
    assert (_SeenObjects(TEMPLATE, near).depth == 0.05).any()
    np.testing.assert_allclose(_SeenObjects(TEMPLATE, near).pixels[0], pixels_of(TEMPLATE, near[0]), atol=1e-9)


def test_a_point_on_no_face_is_seen_from_everywhere() -> None:
    template = replace(TEMPLATE, on_face=TEMPLATE.on_face & (np.arange(8) != 2)[:, None], everywhere=np.arange(8) == 2)
    facing = _SeenObjects(template, EVERY).facing(template)
    assert facing[:, 2].tolist() == [1.0] * len(EVERY)
    np.testing.assert_allclose(facing, [facing_of(template, one) for one in EVERY], atol=1e-12)


def test_the_camera_may_be_low_where_it_is_far_away() -> None:
    low, _ = _SeenObjects(TEMPLATE, EVERY).height()
    expected = [max((geometry_fit.HEIGHT - camera_place(one)[2]) / spread_of_height(one), 0.0) for one in EVERY]
    np.testing.assert_allclose(low, expected, atol=1e-9)
    assert (low[: len(HIGH)] == 0).any()
    assert (low[len(HIGH) :] > 0.1).all()


def test_sums_gradients_and_matrices_are_those_of_the_residuals() -> None:
    views = _labeled(EVERY)
    total, gradient, matrix = _system(TEMPLATE, views, EVERY)
    for row, one in enumerate(EVERY):
        # The precision of the camera's height is treated as constant.
        spread = spread_of_height(one)
        rest, steps = residuals(TEMPLATE, views, row, one, spread), 1e-6 * np.eye(len(one))
        slope = (
            np.array(
                [
                    residuals(TEMPLATE, views, row, one + step, spread)
                    - residuals(TEMPLATE, views, row, one - step, spread)
                    for step in steps
                ]
            )
            / 2e-6
        )
        assert total[row] == pytest.approx(rest @ rest)
        # The distance depends on scale and focal length, and so does the precision of the height.
        some = np.array([i not in (5, 6) for i in range(len(one))]) | (rest[-1] == 0)
        np.testing.assert_allclose(gradient[row][some], (slope @ rest)[some], rtol=1e-4, atol=1e-3)
        expected = (slope @ slope.T)[some][:, some]
        np.testing.assert_allclose(matrix[row][some][:, some], expected, rtol=1e-4, atol=1e-3)


def test_how_low_the_camera_is_changes_with_scale_and_focal_length() -> None:
    """Against the height times its precision, in the units of the fit: shares of the distance."""
    low, change = _SeenObjects(TEMPLATE, LOW).height()
    assert (low > 0).all()
    for row, one in enumerate(LOW):

        def lack(at: Floats) -> float:
            return float((geometry_fit.HEIGHT - camera_place(at)[2]) * np.exp(at[5] - at[6]))

        spread = spread_of_height(one) * np.exp(one[5] - one[6])
        steps = 1e-6 * np.eye(len(one))[:7]
        expected = [(lack(one + step) - lack(one - step)) / 2e-6 / spread for step in steps]
        np.testing.assert_allclose(change[row], expected, rtol=1e-5, atol=1e-7)
    assert not _SeenObjects(TEMPLATE, parameters(down=0.5)[None]).height()[1].any()


def test_an_affine_fit_of_a_flat_object_far_away_is_all_but_right() -> None:
    flat = replace(TEMPLATE, points=TEMPLATE.points * [1.0, 1.0, 0.0] + [0.0, 0.0, 1.5])
    # Off the axis of a camera that looks down, a level camera is only an approximation.
    for places, off in ((((0.0, 0.0),), 5e-3), (((150.0, 100.0), (-180.0, -90.0)), 0.05)):
        every = np.array(
            [
                parameters(heading, down, at=at, scale=3.0)
                for heading in (-2.5, -0.4, 0.3, 1.6)
                for down in (0.15, 0.5)
                for at in places
            ]
        )
        start = _start(flat, views_of(flat, every))
        turned = np.angle(np.exp(1j * (start[:, 0] - every[:, 0])))
        assert np.abs(turned).max() < off
        assert np.abs(start[:, 1] - every[:, 1]).max() < off
        assert np.abs(start[:, 3:5] - every[:, 3:5]).max() < 1.0
        assert np.abs(start[:, 5:7] - every[:, 5:7]).max() < off
        assert not start[:, 2].any()
        assert not start[:, 7:].any()


def test_the_start_goes_by_labeled_points_only() -> None:
    views = views_of(TEMPLATE, HIGH)
    spoilt = replace(views, points=views.points.copy(), visibility=views.visibility.copy())
    spoilt.visibility[:, 3] = 0
    spoilt.points[:, :, 3] += 500.0
    np.testing.assert_allclose(_start(TEMPLATE, spoilt), _start(TEMPLATE, views.without(3)), atol=1e-9)


@pytest.mark.parametrize(("down", "least"), [(-0.2, 0.06), (1.5, 0.06)])
def test_no_start_is_below_the_ground_or_straight_above(down: float, least: float) -> None:
    every = np.array([parameters(0.7, down, at=(0.0, 0.0), scale=3.0)])
    start = _start(TEMPLATE, views_of(TEMPLATE, every))
    assert least - 1e-3 < np.sin(start[0, 1]) < 0.98


def test_known_objects_are_found() -> None:
    shapes = some_parameters(20, 5)
    shapes[:, 7:] *= 0.3
    shapes[:, 6] = np.log(704.0)
    shapes[:, 2] *= 0.2
    views = views_of(TEMPLATE, shapes, sigma=1.0)
    found, sums = _minimize(TEMPLATE, views)
    np.testing.assert_allclose(sums, _system(TEMPLATE, views, found)[0])
    # The truth costs what its own shape and roll cost; the best costs no more.
    truth = _system(TEMPLATE, views, shapes)[0]
    assert (sums < truth + 0.06).all()
    fits = fit(TEMPLATE, views, visibility=False)
    assert fits.rms.max() < 0.2
    np.testing.assert_allclose(fits.misfit, sums)
    np.testing.assert_allclose(fits.projected, views.points, atol=0.5)
    heading = np.angle(np.exp(1j * (found[:, 0] - shapes[:, 0])))
    assert np.abs(heading).max() < 0.1


def test_no_way_leads_down_from_where_a_fit_ends() -> None:
    views = _labeled(HIGH)
    views = replace(views, visibility=np.maximum(views.visibility, 1.0))
    found, sums = _minimize(TEMPLATE, views)
    rng = np.random.default_rng(0)
    for _ in range(30):
        aside = rng.normal(0.0, [0.003] * 3 + [0.5] * 2 + [0.003] * 2 + [0.05] * MODES, found.shape)
        assert (_system(TEMPLATE, views, found + aside)[0] > sums - 0.05).all()


def test_labels_that_are_nothing_end_a_fit_too() -> None:
    views = views_of(TEMPLATE, HIGH[:2])
    nowhere = replace(views, points=np.full_like(views.points, 7.0), visibility=np.zeros_like(views.visibility))
    fits = fit(TEMPLATE, nowhere)
    assert np.isfinite(fits.misfit).all()
    assert fits.rms.tolist() == [0.0, 0.0]
    assert fits.turned_away.tolist() == [0, 0]


def test_what_a_fit_says_of_points_and_of_visibility() -> None:
    views = _labeled(some_parameters(40, 8))
    views.visibility[:2, 1:] = 0
    views.visibility[:2, 0] = 1
    found, sums = _minimize(TEMPLATE, views)
    fits = fit(TEMPLATE, views)
    for row, one in enumerate(found):
        pixels, seen = pixels_of(TEMPLATE, one), views.visibility[row]
        squares = [float(((pixels[:, k] - views.points[row, :, k]) ** 2).sum()) for k in range(8) if seen[k] > 0]
        assert fits.rms[row] == pytest.approx(np.sqrt(np.mean(squares)))
        facing = facing_of(TEMPLATE, one)
        assert fits.turned_away[row] == sum(seen[k] == 2 and facing[k] < -FACING_EDGE for k in range(8))
        surprise = sum(_surprise_of(float(facing[k]), int(seen[k])) for k in range(8))
        assert fits.misfit[row] == pytest.approx(sums[row] + surprise)
        np.testing.assert_allclose(fits.projected[row], pixels, atol=1e-9)
    assert fits.turned_away.any()
    # Sides seen almost edge-on are not turned away.
    edge = np.array([facing_of(TEMPLATE, one) for one in found])
    assert ((np.abs(edge) < FACING_EDGE) & (views.visibility == 2)).any()


def _surprise_of(facing: float, visibility: int) -> float:
    """Return it of one point: a visible point behind and a hidden one before are unlikely, with a soft edge between."""
    before = 1 / (1 + np.exp(-facing / FACING_EDGE))
    visible = before * (1 - HIDDEN_BEFORE) + (1 - before) * VISIBLE_BEHIND
    likeliest = {1: 1 - VISIBLE_BEHIND, 2: 1 - HIDDEN_BEFORE}
    likely = {1: 1 - visible, 2: visible}
    return -2 * float(np.log(likely[visibility] / likeliest[visibility])) if visibility else 0.0


def test_surprise_point_by_point() -> None:
    facing = np.array([[-0.9, -0.03, 0.0, 0.04, 0.8]] * 3)
    visibility = np.repeat([[0.0], [1.0], [2.0]], 5, axis=1)
    got = _surprise(facing, visibility)
    expected = [sum(_surprise_of(f, v) for f in facing[0]) for v in (0, 1, 2)]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert got[0] == 0


def test_a_template_without_faces_says_nothing_by_what_is_hidden() -> None:
    bare = replace(
        TEMPLATE,
        normals=np.zeros((0, 3)),
        on_face=np.zeros((8, 0), dtype=np.bool_),
        everywhere=np.ones(8, dtype=np.bool_),
    )
    views = views_of(TEMPLATE, HIGH)
    fits = fit(bare, views)
    np.testing.assert_allclose(fits.misfit, fit(bare, views, visibility=False).misfit)
    assert not fits.turned_away.any()


def test_hidden_points_on_no_face_say_nothing() -> None:
    template = replace(TEMPLATE, on_face=np.zeros_like(TEMPLATE.on_face), everywhere=np.ones(8, dtype=np.bool_))
    views = replace(views_of(TEMPLATE, HIGH), visibility=np.ones((len(HIGH), 8)))
    np.testing.assert_allclose(fit(template, views).misfit, fit(template, views, visibility=False).misfit)


def test_parts_of_very_many_views_are_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    views = _labeled(EVERY[:7])
    whole = fit(TEMPLATE, views)
    monkeypatch.setattr(geometry_fit, "FITS_AT_ONCE", 3)
    parts = fit(TEMPLATE, views)
    for field in Fits.__slots__:
        np.testing.assert_allclose(getattr(parts, field), getattr(whole, field), rtol=1e-6, atol=1e-6)
    bare = fit(TEMPLATE, views, visibility=False)
    assert (bare.misfit < whole.misfit).all()


def test_views_are_taken_renamed_and_left_out() -> None:
    views = _labeled(EVERY[:3])
    some = views.take(np.array([2, 0]))
    assert len(some) == 2
    assert some.points.tolist() == views.points[[2, 0]].tolist()
    assert (some.sigma.tolist(), some.longest.tolist()) == (
        views.sigma[[2, 0]].tolist(),
        views.longest[[2, 0]].tolist(),
    )
    order = np.array([3, 1, 2, 0, 4, 5, 6, 7])
    renamed = views.renamed(order)
    assert renamed.points[:, :, 0].tolist() == views.points[:, :, 3].tolist()
    assert renamed.visibility[:, 3].tolist() == views.visibility[:, 0].tolist()
    assert renamed.sigma is views.sigma
    assert renamed.longest is views.longest
    before = views.visibility.copy()
    without = views.without(5)
    assert without.points is views.points
    assert (without.sigma is views.sigma, without.longest is views.longest) == (True, True)
    assert views.visibility.tolist() == before.tolist()
    assert without.visibility[:, 5].tolist() == [0.0] * 3
    assert np.delete(without.visibility, 5, axis=1).tolist() == np.delete(before, 5, axis=1).tolist()
    weights = [[(v > 0) / s for v in row] for row, s in zip(before.tolist(), views.sigma, strict=True)]
    np.testing.assert_allclose(views.weights, weights)


def test_a_template_without_modes_is_fitted_too() -> None:
    stiff: Body = replace(TEMPLATE, modes=np.zeros((0, 8, 3)))
    every = HIGH[:, :7].copy()
    every[:, 6] = np.log(704.0)
    every[:, 2] = 0
    views = views_of(stiff, every)
    assert fit(stiff, views, visibility=False).rms.max() < 0.5
