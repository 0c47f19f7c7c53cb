"""What is done to a photograph, with Pillow: look at an upload, cut a thumbnail, lay out a contact sheet.

Plain functions from file to file. They tell how far they are by calling `step(done, total, text)`, so
that a task can pass it on. Knows nothing of Flask, of queues or of who is asking.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import (
    Image,
    ImageChops,
    ImageDraw,
    ImageFilter,
    ImageFont,
    ImageMath,
    ImageOps,
    ImageStat,
    UnidentifiedImageError,
)

Step = Callable[[int, int, str], None]

FORMATS = ("JPEG", "PNG", "WEBP")
#: 40 megapixels: a bigger one is a decompression bomb, or belongs in another program.
PIXELS_MAX = 40_000_000
_DESCRIPTION = 0x010E  # EXIF's ImageDescription
_GAMMA = 2.2
#: Root mean square difference, in levels of 255, that nobody sees at the size of a thumbnail.
_INVISIBLE_ERROR = 2.0


class NotAPhotograph(ValueError):
    """The upload is no picture that we take. The text is for the one who uploaded it."""


@dataclass(frozen=True)
class Photograph:
    """Size in pixels, as seen (upright). `description` is what the camera or editor wrote into the file, or ""."""

    width: int
    height: int
    format: str
    description: str


def look_at(stream: IO[bytes]) -> Photograph:
    """Decode the whole picture and say what it is. The decoder decides, never the file's name or its declared type.

    Raises NotAPhotograph.
    """
    try:
        with Image.open(stream, formats=FORMATS) as image:
            if image.width * image.height > PIXELS_MAX:
                raise NotAPhotograph(f"it has {image.width} × {image.height} pixels; {PIXELS_MAX:,} are the most")
            image.load()
            width, height = ImageOps.exif_transpose(image).size
            description = str(image.getexif().get(_DESCRIPTION, "")).strip()
            return Photograph(width, height, str(image.format), description[:300])
    except UnidentifiedImageError:
        raise NotAPhotograph(f"it is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, NotAPhotograph):
            raise
        raise NotAPhotograph(f"the picture is damaged ({error})") from None


def cut_thumbnail(source: Path, target: Path, width: int, step: Step) -> tuple[int, int]:
    """Write a sharp JPEG of `width` pixels, which keeps the proportions. Returns its size in pixels.

    Scaled in linear light, because averaging gamma-coded values makes fine bright detail (stars, hair) too dark.
    """
    step(0, 4, "decoding")
    with Image.open(source) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    size = (width, max(1, round(image.height * width / image.width)))
    step(1, 4, "scaling")
    bands = [_to_display(_to_light(band).resize(size, Image.Resampling.LANCZOS)) for band in image.split()]
    step(2, 4, "sharpening")
    sharp = Image.merge("RGB", bands).filter(ImageFilter.UnsharpMask(radius=1.2, percent=70, threshold=2))
    step(3, 4, "encoding")
    _write(target, _smallest_that_looks_the_same(sharp))
    step(4, 4, "done")
    return size


def lay_out_sheet(pictures: Sequence[tuple[Path, str]], target: Path, columns: int, step: Step) -> tuple[int, int]:
    """Write a contact sheet: each picture with its caption below, `columns` in a row. Returns its size in pixels."""
    cell, caption, gap = 320, 32, 16
    rows = -(-len(pictures) // columns)
    size = (gap + columns * (cell + gap), gap + rows * (cell + caption + gap))
    sheet = Image.new("RGB", size, "#17181c")
    font = ImageFont.load_default(18)
    for index, (source, text) in enumerate(pictures):
        step(index, len(pictures), text)
        x = gap + index % columns * (cell + gap)
        y = gap + index // columns * (cell + caption + gap)
        with Image.open(source) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
        sheet.paste(ImageOps.fit(upright, (cell, cell), Image.Resampling.LANCZOS), (x, y))
        ImageDraw.Draw(sheet).text((x, y + cell + 7), _shortened(text, font, cell), "#d9dade", font)
    _write(target, _jpeg(sheet, 90))
    step(len(pictures), len(pictures), "done")
    return size


def _to_light(band: Image.Image) -> Image.Image:
    light: Image.Image = ImageMath.lambda_eval(lambda a: (a["float"](a["band"]) / 255) ** _GAMMA, band=band)
    return light


def _to_display(band: Image.Image) -> Image.Image:
    def back(a: dict[str, object]) -> object:
        # Lanczos overshoots at edges: clip before the root, which has no value below 0.
        clipped = a["max"](a["min"](a["band"], 1.0), 0.0)  # type: ignore[operator]
        return a["convert"](clipped ** (1 / _GAMMA) * 255 + 0.5, "L")  # type: ignore[operator]

    shown: Image.Image = ImageMath.lambda_eval(back, band=band)
    return shown


def _smallest_that_looks_the_same(image: Image.Image) -> bytes:
    """The JPEG of lowest quality, 60 to 95, whose difference from the original is not seen."""
    low, high = 60, 95
    while low < high:
        middle = (low + high) // 2
        if _difference(image, _jpeg(image, middle)) <= _INVISIBLE_ERROR:
            high = middle
        else:
            low = middle + 1
    return _jpeg(image, low)


def _difference(image: Image.Image, encoded: bytes) -> float:
    with Image.open(io.BytesIO(encoded)) as decoded:
        return max(ImageStat.Stat(ImageChops.difference(image, decoded)).rms)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return out.getvalue()


def _write(target: Path, content: bytes) -> None:
    """Whole or not at all: a worker may be killed here, and a twin may be writing the same file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
