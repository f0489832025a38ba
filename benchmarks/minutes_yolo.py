"""Train and run one YOLO-pose model with ultralytics: the part of minutes.py that runs in .venv-peers.

Nothing is downloaded: the model is a YAML file of the package, without weights; no fonts (no plots), no check of AMP.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

# Last checkpoint of a run of ultralytics that is meant to be used.
BEST = Path("train") / "weights" / "best.pt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train")
    training.set_defaults(command=train)
    training.add_argument("model", help="a YAML file of ultralytics")
    training.add_argument("data", type=Path, help="data.yaml")
    training.add_argument("--minutes", type=float, required=True)
    training.add_argument("--seed", type=int, required=True)
    predicting = commands.add_parser("predict")
    predicting.set_defaults(command=predict)
    predicting.add_argument("truth", type=Path, help="COCO file with the ids of the images")
    predicting.add_argument("images", type=Path, help="their folder")
    predicting.add_argument("--least-score", type=float, required=True)
    for command in (training, predicting):
        command.add_argument("--work", type=Path, required=True, help="folder of the run")
        command.add_argument("--side", type=int, required=True, help="of the input in pixels")
        command.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    os.environ |= {"YOLO_CONFIG_DIR": str(args.work), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false"}
    args.command(args, yolo(args.threads))


def yolo(threads: int) -> Any:
    """Return the class YOLO."""
    from ultralytics import YOLO, settings
    from ultralytics.utils import torch_utils

    settings.update({"sync": False})
    # On two processors ultralytics takes one thread only.
    torch_utils.NUM_THREADS = threads
    return YOLO


def train(args: argparse.Namespace, model: Any) -> None:
    model(args.model, task="pose").train(
        data=str(args.data),
        time=args.minutes / 60,
        imgsz=args.side,
        seed=args.seed,
        project=str(args.work),
        name="train",
        device="cpu",
        pretrained=False,
        amp=False,
        plots=False,
    )


def predict(args: argparse.Namespace, model: Any) -> None:
    network = model(str(args.work / BEST))
    results = []
    for image in json.loads(args.truth.read_text(encoding="utf-8"))["images"]:
        found = network.predict(
            str(args.images / image["file_name"]), imgsz=args.side, conf=args.least_score, device="cpu", verbose=False
        )[0]
        rows = zip(found.boxes.xyxy.tolist(), found.boxes.conf.tolist(), found.keypoints.data.tolist(), strict=True)
        for (x1, y1, x2, y2), score, keypoints in rows:
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "keypoints": [number for point in keypoints for number in point],
                    "score": score,
                }
            )
    (args.work / "results_coco.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
