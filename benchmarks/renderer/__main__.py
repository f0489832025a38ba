"""Write rendered cars as labelme files: ``python -m benchmarks.renderer --images 300 --seed 1 --out FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.renderer.render import write_images

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    write_images(args.out, args.images, args.seed)
