from __future__ import annotations

import json
from typing import Any

import pytest

from posetools.core.findings import RULES
from tools.schemas import CHECKOUT, WAYS_ON, generated_files

STALE = "is stale: `make generate` (python -m tools.schemas) writes it again"


def comparable(name: str, text: str) -> Any:
    """Return JSON parsed, without what differs between pydantic versions; any other text unchanged."""
    return _plain(json.loads(text)) if name.endswith(".json") else text


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if (k, v) != ("additionalProperties", True)}
    return [_plain(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", generated_files())
def test_generated_files_are_current(name: str) -> None:
    written = (CHECKOUT / name).read_text(encoding="utf-8")
    assert comparable(name, written) == comparable(name, generated_files()[name]), f"{name} {STALE}"


def test_a_stale_schema_is_noticed() -> None:
    name = "schemas/coco_keypoints.schema.json"
    changed = generated_files()[name].replace('"area",', '"areas",')
    assert comparable(name, changed) != comparable(name, generated_files()[name])


def test_the_page_on_codes_has_every_code_once() -> None:
    page = generated_files()["docs/findings.md"]
    assert all(page.count(f"| {code} | {rule.title} |") == 1 for code, rule in RULES.items())


def test_the_page_on_codes_says_what_to_do_about_each_error() -> None:
    _, _, ways = generated_files()["docs/findings.md"].partition("\n## What to do when a file is refused\n")
    assert all(f"| {code} | {way} |" in ways for code, way in WAYS_ON.items())


def test_the_coco_schema_says_what_an_annotation_needs() -> None:
    schema = json.loads(generated_files()["schemas/coco_keypoints.schema.json"])
    annotation = schema["$defs"]["CocoAnnotation"]
    assert {"id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints"} <= set(annotation["required"])
    assert annotation["properties"]["area"]["exclusiveMinimum"] == 1
    assert "segmentation" not in annotation["required"]
