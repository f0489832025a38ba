"""Speed and memory of checking a COCO file, against pycocotools (which only loads it) and Datumaro.

    python benchmarks/validate.py [--images 118000] [--annotations 262000] [--skeleton coco17] [--spoil none]
                                  [--repeats 3] [--datumaro PYTHON] [--profile] [--json FILE]

The file is generated first, with the size of COCO train2017 and keypoints on half of the objects. Each program reads it
in its own process, in turns, and the best of the repeats counts: seconds from before the file is opened to after the
last check (without imports), and the peak memory of the process (with imports). posetools runs all checks except those
of the image files; pycocotools builds its index; Datumaro imports and validates.

``--spoil`` puts one mistake into every object, so that each has a finding: unlabeled points with coordinates (W203),
a wrong count (E105, which --fix corrects), no area (E104, which breaks the model), one NaN in the whole file.
``--datumaro`` is a Python with Datumaro (default: ``.venv-peers/bin/python`` after ``make test-peers``).
``--profile`` prints where the time goes. The run fails if pycocotools is faster or needs less memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from posetools.core.skeleton import Skeleton, load_skeleton  # noqa: E402

SPOILS = ("none", "W203", "E105", "E104", "nan")
SIZE = (640, 480)

# The last output line of each has the seconds, and the peak in KB.
_PRELUDE = """
import gc, json, resource, sys, time
sys.path.insert(0, {root!r})

def high_water():
    # Linux counts into ru_maxrss what the parent had when it started this process.
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

{imports}
gc.collect()
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
peak = high_water()
print(json.dumps([seconds, peak, {result}]))
"""
PROGRAMS = {
    "posetools": (
        "from pathlib import Path\nimport posetools.checks.validate as v",
        "report = v.validate(Path({path!r}), skeleton={skeleton!r}, images=False)",
        "len(report.findings)",
    ),
    "pycocotools": ("from pycocotools.coco import COCO", "coco = COCO({path!r})", "len(coco.anns)"),
    "datumaro": (
        "import datumaro as dm\nfrom datumaro.plugins.validators import DetectionValidator",
        "dataset = dm.Dataset.import_from({path!r}, 'coco_person_keypoints')\n"
        "reports = DetectionValidator().validate(dataset)",
        "len(dataset)",
    ),
}


def make(skeleton: Skeleton, images: int, annotations: int, spoil: str, seed: int) -> list[str]:
    """Return the lines of a COCO file."""
    rng = np.random.default_rng(seed)
    k = skeleton.num_keypoints
    category = {
        "id": skeleton.category.id,
        "name": skeleton.category.name,
        "supercategory": "",
        "keypoints": list(skeleton.names),
        "skeleton": [list(edge) for edge in skeleton.coco_edges],
    }
    entries = [
        f'{{"id":{i},"file_name":"{i:012}.jpg","width":{SIZE[0]},"height":{SIZE[1]},"license":1}}'
        for i in range(1, images + 1)
    ]
    corner, side = rng.uniform(0, 200, (annotations, 2)), np.exp(rng.uniform(np.log(12), np.log(200), (annotations, 2)))
    box = np.concatenate([corner, side], axis=1).round(2)
    points = (corner[:, None] + rng.random((annotations, k, 2)) * side[:, None]).astype(np.int64)
    seen = rng.integers(0, 3, (annotations, k)) * (rng.random((annotations, 1)) < 0.5)
    rows = np.concatenate([points * (seen[:, :, None] > 0), seen[:, :, None]], axis=2)
    if spoil == "W203":
        rows[:, 0] = (*points[0, 0], 0)
    counts = (rows[:, :, 2] > 0).sum(axis=1) + (spoil == "E105")
    of = rng.integers(1, images + 1, annotations).tolist()
    objects = []
    parts = zip(rows.reshape(annotations, -1), box.tolist(), counts.tolist(), strict=True)
    for i, (numbers, b, count) in enumerate(parts):
        area = "" if spoil == "E104" else f'"area":{b[2] * b[3]:.4f},'
        text = ",".join(map(str, numbers.tolist()))
        if spoil == "nan" and i == annotations // 2:
            text = "NaN" + text[text.index(",") :]
        objects.append(
            f'{{"id":{i + 1},"image_id":{of[i]},"category_id":{category["id"]},"bbox":{json.dumps(b)},{area}'
            f'"iscrowd":0,"num_keypoints":{count},"keypoints":[{text}]}}'
        )
    return [
        '{"info":{"description":"made by a benchmark"},"licenses":[{"id":1,"name":"none"}],"images":[',
        ",\n".join(entries),
        '],"annotations":[',
        ",\n".join(objects),
        f'],"categories":[{json.dumps(category)}]}}',
    ]


def run(program: str, python: str, path: Path, skeleton: str) -> tuple[float, float, int]:
    """Return seconds, peak megabytes, and the program's result."""
    imports, work, result = PROGRAMS[program]
    code = _PRELUDE.format(
        root=str(ROOT), imports=imports, work=work.format(path=str(path), skeleton=skeleton), result=result
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{program} failed:\n{done.stderr[-2000:]}")
    seconds, peak, number = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak / 1024, number


def profile(path: Path, skeleton: str) -> None:
    """Print where the time of posetools goes."""
    import cProfile
    import pstats

    from posetools.checks.validate import validate

    profiler = cProfile.Profile()
    profiler.enable()
    validate(path, skeleton=skeleton, images=False)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(r"posetools|msgspec|numpy|pydantic|json", 25)


def peers(options: argparse.Namespace) -> dict[str, str]:
    pythons = {"posetools": sys.executable, "pycocotools": sys.executable}
    datumaro = options.datumaro or ROOT / ".venv-peers/bin/python"
    if datumaro.exists() and options.skeleton == "coco17":
        pythons["datumaro"] = str(datumaro)
    return pythons


def compare(path: Path, pythons: dict[str, str], options: argparse.Namespace) -> list[dict[str, object]]:
    best: dict[str, tuple[float, float, int]] = {}
    for turn in range(options.repeats):
        for program, python in pythons.items():
            # Datumaro takes minutes, so it runs once.
            if turn and program == "datumaro":
                continue
            seconds, peak, number = run(program, python, path, options.skeleton)
            before = best.get(program, (seconds, peak, number))
            best[program] = (min(seconds, before[0]), min(peak, before[1]), number)
    own = best["posetools"]
    print(f"{'':12} {'seconds':>9} {'ratio':>7} {'peak MB':>9} {'ratio':>7}")
    for program, (seconds, peak, _) in best.items():
        print(f"{program:12} {seconds:9.2f} {seconds / own[0]:7.2f} {peak:9.0f} {peak / own[1]:7.2f}")
    print(f"posetools found {own[2]}")
    return [{"program": p, "seconds": s, "peak_mb": m, "number": n} for p, (s, m, n) in best.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--annotations", type=int, default=262_000)
    parser.add_argument("--skeleton", default="coco17")
    parser.add_argument("--spoil", choices=SPOILS, default="none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--datumaro", type=Path, metavar="PYTHON")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        # The folders of a COCO release, which Datumaro expects.
        path = Path(folder) / "annotations" / "person_keypoints_train2017.json"
        path.parent.mkdir()
        (Path(folder) / "images").mkdir()
        skeleton = load_skeleton(options.skeleton)
        lines = make(skeleton, options.images, options.annotations, options.spoil, options.seed)
        path.write_text("\n".join(lines), encoding="utf-8")
        print(
            f"{options.images} images, {options.annotations} annotations, {path.stat().st_size / 1e6:.0f} MB, "
            f"skeleton {options.skeleton}, spoiled: {options.spoil}"
        )
        del lines
        results = compare(path, peers(options), options)
        if options.profile:
            profile(path, options.skeleton)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    own, peer = results[0], results[1]
    worse = any(float(str(own[key])) > float(str(peer[key])) for key in ("seconds", "peak_mb"))
    return int(worse and options.skeleton == "coco17" and options.spoil == "none")


if __name__ == "__main__":
    raise SystemExit(main())
