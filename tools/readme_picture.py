"""Makes the README's picture from the report of a run: `python tools/readme_picture.py RUN PICTURE`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

COLOURS = 32  # of blue on white; a quarter of the bytes


def main(run: Path, picture: Path) -> None:
    figure = Image.open(run / "report" / "figures" / "truth.png").convert("RGB")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
