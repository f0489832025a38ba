"""Light and color: from the visible triangle at each pixel to the image.

All light is linear until the last step, where the square root approximates the display's gamma.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

from posetools.core.geometry import Floats
from posetools.synth.camera import Buffers, Camera
from posetools.synth.car import Mesh, normals
from posetools.synth.scene import Finish, Ground, Light, Scene

LinearPixels: TypeAlias = npt.NDArray[np.float32]

_NOISE_SIDE = 256
_TONES = 4096
# Shadows nearer to the camera than this are cut off, in meters.
_NEAR_PLANE = 0.2
# Share of the sunlight, and of the ambient light, that a shadow removes.
_SUN_SHADE = 0.92
_CONTACT_SHADE = 0.6


def paint(scene: Scene, buffers: Buffers, scale: int) -> Pillow.Image:
    """Return the image.

    Args:
        scene: the scene.
        buffers: the visible triangle at each sub-pixel.
        scale: sub-pixels per pixel, along each side.
    """
    camera, light = scene.camera, scene.light
    rays = camera.rays(scale).reshape(3, -1)
    triangle = buffers.triangle.ravel()
    seen, down = triangle >= 0, rays[2] < -1e-4
    sky, ground, solid = (np.flatnonzero(mask) for mask in (~seen & ~down, ~seen & down, seen))
    radiance = np.empty((len(triangle), 3), dtype=np.float32)
    depth = np.full(len(triangle), np.inf, dtype=np.float32)
    depth[ground] = -camera.position[2] / rays[2, ground]
    depth[solid] = 1.0 / buffers.inverse_depth.ravel()[solid]
    radiance[sky] = _sky(light, rays[:, sky])
    x, y = (np.float32(camera.position[i]) + depth[ground] * rays[i, ground] for i in (0, 1))
    sun, contact = (mask.ravel()[ground] for mask in _shadows(scene, scale))
    radiance[ground] = _ground_color(scene.ground, x, y, depth[ground]) * _ground_light(light, sun, contact)
    above = np.float32(camera.position[2]) + depth[solid] * rays[2, solid]
    # Near the ground less of the sky is visible.
    openness = np.float32(0.62) + np.float32(0.42) * np.clip(above, 0.0, 0.9)
    radiance[solid] = _face_light(scene.mesh, light, camera)[triangle[solid]] * openness[:, None]
    width, height = camera.size
    blocks = radiance.reshape(height, scale, width, scale, 3)
    small = sum((blocks[:, i, :, j] for i in range(scale) for j in range(scale)), np.float32(0)) / np.float32(scale**2)
    # The lowest sub-pixel: at the horizon it is the one on the ground, which is in the haze.
    reach = depth.reshape(height, scale, width, scale)[:, -1, :, -1]
    return _develop(_hazy(np.asarray(small), reach, light), scene.finish)


def _hazy(radiance: LinearPixels, depth: LinearPixels, light: Light) -> LinearPixels:
    """Return the (H, W, 3) light after absorption by the air, plus the light of the haze."""
    left = np.exp(np.float32(-light.fog) * depth)[..., None] if light.fog else np.ones((), dtype=np.float32)
    left = np.where(np.isinf(depth)[..., None], np.float32(1), left)
    hazy: LinearPixels = radiance * left + np.array(light.sky[0], dtype=np.float32) * (1 - left)
    return hazy


def _sky(light: Light, rays: LinearPixels) -> LinearPixels:
    low, high = (np.array(color, dtype=np.float32) for color in light.sky)
    steep = np.clip(rays[2] / np.sqrt((rays**2).sum(axis=0)) * 2.2, 0.0, 1.0) ** 0.7
    clouds = _noise(rays[0] * 30 / (rays[2] + 0.35), rays[1] * 30 / (rays[2] + 0.35)) - 0.5
    share = np.clip(steep - 0.5 * np.clip(clouds, 0.0, None), 0.0, 1.0)[:, None]
    color: LinearPixels = low * (1 - share) + high * share
    return color


def _face_light(mesh: Mesh, light: Light, camera: Camera) -> LinearPixels:
    """Return the (T, 3) light from each face to the camera: diffuse, plus reflections of the surroundings."""
    unit = normals(mesh)
    up = unit[:, 2:3]
    sun = np.clip(unit @ np.array(light.sun), 0.0, None)[:, None]
    around = np.array(light.ambient) * (0.62 + 0.38 * up)
    diffuse = mesh.colors * (around + np.array(light.sun_color) * sun)
    view = np.array(camera.position) - mesh.vertices[mesh.triangles].mean(axis=1)
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    facing = np.clip((unit * view).sum(axis=1, keepdims=True), 0.0, 1.0)
    mirrored = 2 * facing * unit - view
    low, high = np.array(light.sky[0]), np.array(light.sky[1])
    rise = np.clip(mirrored[:, 2:3], 0.0, 1.0)
    seen = np.where(mirrored[:, 2:3] > 0, low * (1 - rise) + high * rise, 0.25 * np.array(light.ambient))
    glare = np.clip(mirrored @ np.array(light.sun), 0.0, 1.0)[:, None] ** 40 * np.array(light.sun_color) * 2.0
    # Schlick's approximation of Fresnel's law: faces reflect more at flat angles.
    gloss = mesh.gloss[:, None]
    share = gloss * (0.35 + 0.65 * (1 - facing) ** 5 / 0.6)
    total: LinearPixels = (diffuse * (1 - 0.5 * np.clip(share, 0, 1)) + share * seen + gloss * glare).astype(np.float32)
    return total


def _ground_light(light: Light, sun: LinearPixels, contact: LinearPixels) -> LinearPixels:
    direct = np.array(light.sun_color, dtype=np.float32) * np.float32(light.sun[2])
    around = np.array(light.ambient, dtype=np.float32)
    lit: LinearPixels = (1 - np.float32(_SUN_SHADE) * np.maximum(sun, contact))[:, None] * direct
    lit += (1 - np.float32(0.12) * sun - np.float32(_CONTACT_SHADE) * contact)[:, None] * around
    return lit


def _ground_color(ground: Ground, x: LinearPixels, y: LinearPixels, depth: LinearPixels) -> LinearPixels:
    """Return the (N, 3) colors of points of the ground, seen from ``depth`` away."""
    cos, sin = np.float32(np.cos(ground.heading)), np.float32(np.sin(ground.heading))
    dx, dy = x - np.float32(ground.center[0]), y - np.float32(ground.center[1])
    along, aside = dx * cos + dy * sin, dy * cos - dx * sin
    # Four colors: the ground, the joints between its tiles, the road, its markings.
    which = np.zeros(len(x), dtype=np.int8)
    if ground.tiles:
        side = np.float32(ground.tiles)
        which[(np.mod(along, side) < 0.06 * side) | (np.mod(aside, side) < 0.06 * side)] = 1
    if ground.half_width:
        road = np.flatnonzero(np.abs(aside) < ground.half_width)
        which[road] = 2 + _is_line(ground, along[road], aside[road])
    palette = np.array([ground.base, [0.6 * part for part in ground.base], ground.road, ground.line], dtype=np.float32)
    u, v = along + np.float32(ground.offset[0]), aside + np.float32(ground.offset[1])
    # Fine grain fades where a grain is smaller than a pixel.
    grain = np.float32(0.6) * (_noise(u * 60, v * 60) - np.float32(0.5)) * np.minimum(14 / depth, 1)
    coarse = np.float32(0.9) * _noise(u * 8, v * 8) + np.float32(0.7) * _noise(u, v) - np.float32(0.8)
    texture = np.clip(1 + np.float32(ground.contrast) * (grain + coarse), 0.2, 2.0)
    color: LinearPixels = palette[which] * texture[:, None]
    return color


def _is_line(ground: Ground, along: LinearPixels, aside: LinearPixels) -> npt.NDArray[np.bool_]:
    """Return whether points of the road are on its markings."""
    edge = np.abs(np.abs(aside) - np.float32(ground.half_width - 0.25)) < 0.07
    if ground.bays:
        bay: npt.NDArray[np.bool_] = edge | (np.mod(along, np.float32(ground.bays)) < 0.11)
        return bay
    lane = np.float32(2 * ground.half_width / ground.lanes)
    within = np.mod(aside + np.float32(ground.half_width) + lane / 2, lane) - lane / 2
    inner = (np.abs(within) < 0.07) & (np.abs(aside) < ground.half_width - lane / 2)
    dashed: npt.NDArray[np.bool_] = edge | (inner & (np.mod(along, np.float32(6)) < 3))
    return dashed


def _shadows(scene: Scene, scale: int) -> tuple[LinearPixels, LinearPixels]:
    """Return (H, W) masks from 0 to 1: the sun's shadows on the ground, and the darkness under each car."""
    camera, direction = scene.camera, np.array(scene.light.sun)
    large = camera.size[0] * scale, camera.size[1] * scale
    sun, contact = Pillow.new("L", large), Pillow.new("L", camera.size)
    if sum(scene.light.sun_color) > 0:
        for mesh in [*(car.shadow for car in scene.cars), *scene.things]:
            corners = mesh.vertices[mesh.triangles[normals(mesh) @ direction > 0]]
            _draw(sun, corners - corners[..., 2:] / direction[2] * direction, camera, scale)
    for car in scene.cars:
        _draw(contact, np.column_stack([car.footprint(0.06), np.zeros(4)])[None], camera, 1)
    contact = contact.filter(ImageFilter.GaussianBlur(camera.size[0] / 200)).resize(large)
    return np.asarray(sun, dtype=np.float32) / 255, np.asarray(contact, dtype=np.float32) / 255


def _draw(mask: Pillow.Image, polygons: Floats, camera: Camera, scale: int) -> None:
    """Fill (N, M, 3) polygons in a mask of sub-pixels, clipped to the front of the camera."""
    pen = ImageDraw.Draw(mask)
    pixels, depth = camera.project(polygons.reshape(-1, 3))
    pixels, depth = pixels.reshape(*polygons.shape[:2], 2) * scale, depth.reshape(polygons.shape[:2])
    for polygon, seen, reach in zip(polygons, pixels, depth, strict=True):
        if reach.min() > _NEAR_PLANE:
            pen.polygon([(x, y) for x, y in seen.tolist()], fill=255)
        elif reach.max() > _NEAR_PLANE:
            cut, _ = camera.project(_cut(polygon, reach))
            pen.polygon([(x, y) for x, y in (cut * scale).tolist()], fill=255)


def _cut(polygon: Floats, depth: Floats) -> Floats:
    """Return the part of an (M, 3) polygon beyond _NEAR_PLANE (Sutherland-Hodgman clipping, one plane)."""
    kept = []
    for i in range(len(polygon)):
        a, b = depth[i - 1] - _NEAR_PLANE, depth[i] - _NEAR_PLANE
        if a * b < 0:
            kept.append(polygon[i - 1] + (polygon[i] - polygon[i - 1]) * a / (a - b))
        if b >= 0:
            kept.append(polygon[i])
    return np.array(kept)


@cache
def _noise_tile() -> LinearPixels:
    """Return a seamless (256, 256) tile of smooth noise from 0 to 1."""
    rng = np.random.default_rng(20_240)
    tile = np.zeros((_NOISE_SIDE, _NOISE_SIDE))
    for cells, weight in ((16, 0.3), (32, 0.3), (64, 0.25), (128, 0.15)):
        values = np.tile(rng.random((cells, cells)), (3, 3)).astype(np.float32)
        smooth = Pillow.fromarray(values).resize((3 * _NOISE_SIDE, 3 * _NOISE_SIDE), Pillow.Resampling.BICUBIC)
        tile += weight * np.asarray(smooth)[_NOISE_SIDE : 2 * _NOISE_SIDE, _NOISE_SIDE : 2 * _NOISE_SIDE]
    tile -= tile.min()
    scaled: LinearPixels = (tile / tile.max()).astype(np.float32)
    return scaled


def _noise(u: LinearPixels, v: LinearPixels) -> LinearPixels:
    """Return smooth noise from 0 to 1 at (u, v), in texels of the tile."""
    # The side is a power of two: the last bits are the remainder, even for negative numbers.
    column, row = u.astype(np.int32) & (_NOISE_SIDE - 1), v.astype(np.int32) & (_NOISE_SIDE - 1)
    value: LinearPixels = _noise_tile().ravel()[row * _NOISE_SIDE + column]
    return value


def _develop(radiance: LinearPixels, finish: Finish) -> Pillow.Image:
    height, width = radiance.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    aperture = (finish.exposure * (1 - finish.vignette * (x**2 + y**2) / 2)).astype(np.float32)
    light = radiance * aperture[..., None] * np.array(finish.tint, dtype=np.float32)
    step = np.minimum(np.sqrt(light) * np.float32(_TONES / 2), np.float32(_TONES - 1)).astype(np.int32)
    image = Pillow.fromarray(_tone_curve(finish.contrast)[step])
    if finish.blur:
        image = image.filter(ImageFilter.GaussianBlur(finish.blur))
    noise = np.random.default_rng(finish.seed).standard_normal((height, width, 3), dtype=np.float32)
    noisy = np.asarray(image) + noise * np.float32(finish.noise) + np.float32(0.5)
    return Pillow.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _tone_curve(contrast: float) -> npt.NDArray[np.uint8]:
    """Return the gray level for each of _TONES values of the square root of the light, from 0 to 2."""
    shown = np.linspace(0, 2, _TONES)
    # A shoulder keeps bright faces distinct instead of clipping them to white.
    shown = np.where(shown > 0.8, 0.8 + 0.2 * np.tanh((shown - 0.8) / 0.35), shown)
    levels: npt.NDArray[np.uint8] = np.clip((0.5 + (shown - 0.5) * contrast) * 255, 0, 255).astype(np.uint8)
    return levels
