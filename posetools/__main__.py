"""``python -m posetools``."""

from posetools.cli import main

if __name__ == "__main__":
    main()
