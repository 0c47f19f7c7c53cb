"""What the gallery does to photographs, asked of the files themselves."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from example_apps.flask_photos import pictures
from example_apps.flask_photos.pictures import NotAPhotograph, cut_thumbnail, lay_out_sheet, look_at

PHOTOS = sorted((Path(pictures.__file__).parent / "photos").glob("*.jpg"))


def silent(done: int, total: int, text: str) -> None:
    """A step that nobody listens to."""


def encoded(image: Image.Image, format: str, **options: object) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, format, **options)
    out.seek(0)
    return out


def test_the_shipped_photographs_are_small_free_and_described() -> None:
    licences = (PHOTOS[0].parent / "LICENSES.md").read_text()
    assert len(PHOTOS) == 6
    for path in PHOTOS:
        assert path.stat().st_size < 500_000
        assert f"`{path.name}`" in licences
        assert len(look_at(io.BytesIO(path.read_bytes())).description) > 20


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_thumbnail_is_a_jpeg_of_the_width_asked_for_and_of_the_same_proportions(path: Path, tmp_path: Path) -> None:
    size = cut_thumbnail(path, tmp_path / "new" / "240.jpg", 240, silent)
    with Image.open(path) as original, Image.open(tmp_path / "new" / "240.jpg") as cut:
        cut.load()
        assert (cut.format, cut.size) == ("JPEG", size)
        assert size == (240, round(original.height * 240 / original.width))


def test_a_thumbnail_looks_like_its_photograph(tmp_path: Path) -> None:
    left_dark = Image.new("RGB", (400, 200), "#202020")
    left_dark.paste("#e0c080", (200, 0, 400, 200))
    source = tmp_path / "original"
    left_dark.save(source, "PNG")
    cut_thumbnail(source, tmp_path / "100.jpg", 100, silent)
    with Image.open(tmp_path / "100.jpg") as cut:
        dark, bright = cut.getpixel((20, 25)), cut.getpixel((80, 25))
    assert all(abs(a - b) <= 4 for a, b in zip(dark, (0x20, 0x20, 0x20), strict=True))
    assert all(abs(a - b) <= 4 for a, b in zip(bright, (0xE0, 0xC0, 0x80), strict=True))


def test_a_photograph_that_lies_on_its_side_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees
    lying = encoded(Image.new("RGB", (300, 200), "red"), "JPEG", exif=exif)
    assert (look_at(lying).width, look_at(lying).height) == (200, 300)
    source = tmp_path / "original"
    source.write_bytes(lying.getvalue())
    assert cut_thumbnail(source, tmp_path / "100.jpg", 100, silent) == (100, 150)


def test_every_step_is_told_and_the_last_one_is_complete(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    cut_thumbnail(PHOTOS[0], tmp_path / "80.jpg", 80, lambda *step: told.append(step))
    assert [done for done, _, _ in told] == [0, 1, 2, 3, 4]
    assert {total for _, total, _ in told} == {4}


def test_nothing_half_written_is_left_when_a_step_stops_the_work(tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        if text == "encoding":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_thumbnail(PHOTOS[0], tmp_path / "80.jpg", 80, stop)
    assert list(tmp_path.iterdir()) == []


def test_cutting_twice_replaces_the_file_whole(tmp_path: Path) -> None:
    for _ in range(2):
        cut_thumbnail(PHOTOS[0], tmp_path / "80.jpg", 80, silent)
    assert [path.name for path in tmp_path.iterdir()] == ["80.jpg"]


def test_a_contact_sheet_has_a_row_for_every_three_pictures(tmp_path: Path) -> None:
    told: list[int] = []
    named = [(path, path.stem) for path in PHOTOS[:4]]
    size = lay_out_sheet(named, tmp_path / "sheet.jpg", 3, lambda done, total, text: told.append(done))
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", size)
    assert size == (16 + 3 * (320 + 16), 16 + 2 * (320 + 32 + 16))
    assert told == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_the_three_formats_are_taken(format: str) -> None:
    assert look_at(encoded(Image.new("RGB", (30, 20)), format)).format == format


def test_a_format_that_is_not_ours_is_refused_whatever_its_name() -> None:
    with pytest.raises(NotAPhotograph, match="not a JPEG, PNG or WEBP"):
        look_at(encoded(Image.new("RGB", (30, 20)), "GIF"))


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"\xff\xd8\xff\xe0" + b"x" * 50])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(NotAPhotograph):
        look_at(io.BytesIO(content))


def test_a_photograph_cut_off_in_the_middle_is_refused() -> None:
    content = PHOTOS[0].read_bytes()
    with pytest.raises(NotAPhotograph, match="damaged"):
        look_at(io.BytesIO(content[: len(content) // 2]))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (8000, 6000)), "PNG")
    assert len(bomb.getvalue()) < 100_000
    with pytest.raises(NotAPhotograph, match="8000 × 6000 pixels"):
        look_at(bomb)
