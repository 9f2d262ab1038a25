"""A voice's picture: read with bounds, drawn anew, so that nothing else in the file is kept."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from ultimate_rvc.errors import SettingError
from ultimate_rvc.files import atomic_path

PICTURE_STEM = "picture"
# Pillow's name of each form, and the suffix of its files here.
PICTURE_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
MAX_PICTURE_BYTES = 20 << 20
MAX_PICTURE_PIXELS = 50_000_000  # a photograph of a large camera; what decodes to more is a bomb
KEPT_SIDE = 1024  # larger pictures are made smaller: cards show a few hundred pixels


def find_picture(folder: Path | None) -> Path | None:
    """The picture in a voice's folder, if there is one."""
    paths = [folder / f"{PICTURE_STEM}{suffix}" for suffix in PICTURE_SUFFIXES.values()] if folder else []
    return next((path for path in paths if path.is_file() and not path.is_symlink()), None)


def is_picture_name(path: Path) -> bool:
    """Whether a file is called as the picture of a voice is."""
    return path.stem == PICTURE_STEM and path.suffix in PICTURE_SUFFIXES.values()


def write_picture(source: Path, folder: Path) -> Path:
    """Read a picture and write it into a voice's folder, in place of the one that is there; its path.

    Its content, not its name, says what it is. It is decoded within bounds and encoded anew as PNG, JPEG or
    WebP, at most 1024 pixels wide and high, without whatever else the file held.

    Raises
    ------
    SettingError
        There is no such file, or it is no such picture, damaged or too large.
    """
    kind, data = _drawn_anew(source)
    target = folder / f"{PICTURE_STEM}{PICTURE_SUFFIXES[kind]}"
    with atomic_path(target) as unfinished:
        unfinished.write_bytes(data)
    remove_pictures(folder, but=target)
    return target


def remove_pictures(folder: Path, but: Path | None = None) -> None:
    """Delete every picture of a voice's folder except ``but``."""
    for suffix in PICTURE_SUFFIXES.values():
        path = folder / f"{PICTURE_STEM}{suffix}"
        if path != but:
            path.unlink(missing_ok=True)


def _drawn_anew(source: Path) -> tuple[str, bytes]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    content = _bounded_content(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is ours
            with Image.open(io.BytesIO(content), formats=tuple(PICTURE_SUFFIXES)) as opened:
                # Phones write JPEG with further pictures behind the first, which Pillow calls MPO.
                kind = "JPEG" if opened.format == "MPO" else str(opened.format)
                width, height = opened.size
                if width * height > MAX_PICTURE_PIXELS:
                    raise Image.DecompressionBombError
                picture = ImageOps.exif_transpose(opened)
                picture.thumbnail((KEPT_SIDE, KEPT_SIDE))
                mode = (
                    "RGBA" if kind != "JPEG" and getattr(picture, "has_transparency_data", False) else "RGB"
                )
                buffer = io.BytesIO()
                picture.convert(mode).save(buffer, format=kind)
    except Image.DecompressionBombError as error:
        raise SettingError(
            f"{source} has more than {MAX_PICTURE_PIXELS // 1_000_000} million pixels; make it smaller."
        ) from error
    except UnidentifiedImageError as error:
        raise SettingError(f"{source} is no PNG, JPEG or WebP picture.") from error
    except Exception as error:  # decoders fail on damaged files in ways of their own
        raise SettingError(f"{source} is a damaged picture; save it again.") from error
    return kind, buffer.getvalue()


def _bounded_content(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            content = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise SettingError(f"The picture {source} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_PICTURE_BYTES:
        raise SettingError(f"{source} has more than {MAX_PICTURE_BYTES >> 20} MB; make it smaller.")
    return content
