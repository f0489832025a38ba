"""The files of the repository that are made from code: the JSON Schemas, and the table of finding codes.

``python -m tools.schemas`` rewrites them in the checkout; a test fails when one is stale.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from posetools.core.findings import RULES
from posetools.core.skeleton import Skeleton
from posetools.files.disk import write_text
from posetools.formats.coco.model import CocoFile
from tools.ways_on import WAYS_ON

CHECKOUT = Path(__file__).resolve().parent.parent

_BASE = "https://json-schema.org/draft/2020-12/schema"
_GROUPS = (
    ("1", "The COCO file and its pictures", "Found by `posetools validate`, and by `convert --from coco`."),
    ("2", "Plausibility", "Found by `posetools validate`. Allowed, but seldom meant."),
    ("3", "Reading annotations", "Found by `posetools convert` and `posetools split`."),
)
_WAYS = (
    "Every error that stops `posetools convert`. Options are those of [convert](convert.md); the message names the one "
    "that fits, with its value. `--keep-going` writes all images in which every object could be read."
)


def generated_files() -> dict[str, str]:
    """Return the path in the checkout, and the text, of every file that is made from code."""
    return {
        "schemas/coco_keypoints.schema.json": schema_text(CocoFile, "COCO keypoint file, as posetools reads it"),
        "schemas/skeleton.schema.json": schema_text(Skeleton, "Skeleton file of posetools"),
        "docs/findings.md": findings_page(),
    }


def schema_text(model: type[BaseModel], title: str) -> str:
    """Return the JSON Schema of a model as text."""
    schema = model.model_json_schema()
    return json.dumps({"$schema": _BASE, **schema, "title": title}, indent=2, ensure_ascii=False) + "\n"


def findings_page() -> str:
    """Return the page on finding codes, as Markdown."""
    lines = [
        "<!-- made from posetools/core/findings.py by `make generate` -->",
        "",
        "# Finding codes",
        "",
        "E is an error: training or evaluation fails, or is spoilt without a word. W is a warning: worth a look.",
        "Codes are stable and never used again for something else.",
    ]
    for digit, title, text in _GROUPS:
        lines += ["", f"## {title}", "", text, "", "| code | name | what it means |", "|---|---|---|"]
        for code, rule in sorted(RULES.items()):
            if code[1] == digit:
                lines.append(f"| {code} | {rule.title} | {_cell(rule.why)} |")
    lines += [
        "",
        "## What to do when a file is refused",
        "",
        _WAYS,
        "",
        "| code | name | what to do |",
        "|---|---|---|",
    ]
    lines += [f"| {code} | {_cell(way)} |" for code, way in sorted(WAYS_ON.items())]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def main() -> None:
    """Rewrite the files in the checkout."""
    for name, text in generated_files().items():
        write_text(CHECKOUT / name, text)
        print(name)


if __name__ == "__main__":
    main()
