"""Makes the screenshots in docs/images/, with Chromium and chromedriver.

``python -m tools.docs_images WORK`` makes those that need no model, ``--demo DIR`` those of a finished demo.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from posetools.synth import render_set

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
WIDTH, PAGE_WIDTH = 1400, 1100


def posetools(*arguments: str | Path) -> None:
    """Run a command; findings are no failure here."""
    subprocess.run([sys.executable, "-m", "posetools", *map(str, arguments)], check=False)


def save(image: Image.Image, name: str) -> None:
    """Write an image as WebP."""
    image.thumbnail((WIDTH, 10 * WIDTH))
    image.convert("RGB").save(IMAGES / name, quality=80, method=6)
    print(f"docs/images/{name}: {(IMAGES / name).stat().st_size // 1000} KB")


def shoot(page: Path, name: str, first: str, last: str, fragment: str = "") -> None:
    """Take a screenshot of a page, from the top of one element to the bottom of another (CSS selectors)."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", f"--window-size={PAGE_WIDTH},900", "--hide-scrollbars"):
        options.add_argument(argument)
    # Selenium would look for both on the internet.
    options.binary_location = shutil.which("chromium") or ""
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.get(f"{page.resolve().as_uri()}{fragment}")
    edge = "const all = document.querySelectorAll(arguments[0]); return all[all.length - 1].getBoundingClientRect()"
    top = max(0, browser.execute_script(edge, first)["top"] - 16)
    height = browser.execute_script(edge, last)["bottom"] + 16 - top
    clip = {"x": 0, "y": top, "width": PAGE_WIDTH, "height": height, "scale": WIDTH / PAGE_WIDTH}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    browser.quit()
    save(Image.open(io.BytesIO(base64.b64decode(shot["data"]))), name)


def change(file: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the shapes of the first object of a labelme file."""
    document = json.loads(file.read_text(encoding="utf-8"))
    edit([shape for shape in document["shapes"] if shape["group_id"] == 0])
    file.write_text(json.dumps(document), encoding="utf-8")


def mirror(shapes: list[dict[str, Any]]) -> None:
    """Exchange left and right."""
    for shape in shapes[1:]:
        side, _, rest = shape["label"].partition("-")
        shape["label"] = f"{'right' if side == 'left' else 'left'}-{rest}"


def shrink(shapes: list[dict[str, Any]]) -> None:
    """Leave the upper left corner of the box alone: most points are outside then."""
    (x0, y0), (x1, y1) = shapes[0]["points"]
    shapes[0]["points"][1] = [x0 + (x1 - x0) * 0.45, y0 + (y1 - y0) * 0.6]


def data() -> None:
    """Show the report of a data set with a few mistakes."""
    render_set(Path("cars"), images=60, size=(480, 360), seed=7, overwrite=True)
    for number, edit in ((4, mirror), (17, mirror), (30, mirror), (23, shrink), (36, shrink), (40, shrink)):
        change(Path("cars", f"car_{number:04d}.json"), edit)
    posetools("convert", "cars", "--out", "data", "--val", "0.2", "--overwrite")
    posetools("validate", "data", "--report", "data.html")
    shoot(Path("data.html"), "data-report.webp", "body", ".charts")
    shoot(Path("data.html"), "findings.webp", "#findings", "section.code", "#off=W211")


def evaluation(demo: Path) -> None:
    """Show what comes out of a demo: the sheet, and the report of the evaluation."""
    sheet = Image.open(demo / "predictions.png").convert("RGB")
    sheet.thumbnail((WIDTH, 10 * WIDTH))
    sheet.quantize(128).save(IMAGES / "demo.png", optimize=True)
    shoot(demo / "evaluation.html", "eval-report.webp", "body", "[aria-labelledby=reached]")
    shoot(demo / "evaluation.html", "eval-cases.webp", "#cases", "#case-3")


def review() -> None:
    """Show the sheet of the images to label first, before there is a model."""
    shutil.copytree("cars", "photos", ignore=shutil.ignore_patterns("*.json"), dirs_exist_ok=True)
    shutil.rmtree("next", ignore_errors=True)
    posetools("review", "photos", "--next", "10", "--out", "next")
    save(Image.open("next/sheet.jpg"), "review.webp")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for what is rendered")
    parser.add_argument("--demo", type=Path, help="a folder of `posetools demo`: makes only its images")
    asked = parser.parse_args()
    demo = asked.demo and asked.demo.resolve()
    # Pages show paths as they are given.
    asked.work.mkdir(exist_ok=True)
    os.chdir(asked.work)
    if demo:
        evaluation(demo)
    else:
        data()
        review()
