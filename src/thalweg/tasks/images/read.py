"""A picture from its file, as bytes of one size: whatever its format, colours, depth and turn.

Pillow decodes. What is transparent lies on white; what is deeper than 8 bits is scaled, not cut.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from thalweg.errors import DataError, first_line
from thalweg.tasks.images.form import Shape

DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of one channel with more than 8 bits."""

SMALL = Shape(64, 64, 3)
"""At this size a picture is looked at for colours."""

GREY = 2
"""Channels that differ by no more than so much everywhere are grey."""

_WHITE = 65_535
"""Of 16 bits."""

MARKS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"RIFF": "WebP", b"BM": "BMP"}
"""How files of pictures begin."""


def picture_of(content: bytes, shape: Shape) -> np.ndarray:
    """uint8 of shape (height, width, channels). Raises DataError that says what is wrong."""
    with _as_data_errors():
        image = _opened(content)
        most = 2 * max(shape.width, shape.height)
        image.draft(None, (most, most))  # a JPEG may be decoded smaller, in less time
        return made(image, shape)


def made(image: Any, shape: Shape) -> np.ndarray:
    """A picture of Pillow's as uint8 of shape (height, width, channels)."""
    from PIL import Image

    image = _in_bytes(_upright(image)).convert("L" if shape.channels == 1 else "RGB")
    if image.size != (shape.width, shape.height):
        image = image.resize((shape.width, shape.height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(shape.stored)


def looks_of(content: bytes) -> tuple[int, int, bool, str]:
    """Width and height as it is to be seen; has it colours? and what is odd about it, if anything.

    Raises DataError as picture_of.
    """
    with _as_data_errors():
        image = _opened(content)
        width, height = _upright(image, is_lazy=True)
        odd = _odd(image)
    small = picture_of(content, SMALL).astype(np.int16)
    return width, height, int(np.ptp(small, axis=2).max()) > GREY, odd


def _odd(image: Any) -> str:
    """What is made of a picture that is no plain one, in words that follow "1 of 60 pictures"."""
    if getattr(image, "is_animated", False):
        return "move: the first picture of each is taken"
    if image.mode in DEEP:
        return "have more than 8 bits a channel: scaled to 8"
    return "are CMYK: brought to red, green and blue" if image.mode == "CMYK" else ""


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, Pillow's warnings of odd but readable files are not heard; for the main thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _as_data_errors() -> Iterator[None]:
    """Whatever a decoder raises on a file of anyone's making, as a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"it cannot be decoded: {first_line(error)}") from None


def _opened(content: bytes) -> Any:
    """The picture, of which only the head was read."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise DataError("it is empty (0 bytes)")
    try:
        return Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        known = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
        if known is not None:
            raise DataError(f"it begins as a {known}, and is cut short or damaged") from None
        raise DataError(f"it is no picture: it begins with {content[:12]!r}") from None


def _upright(image: Any, *, is_lazy: bool = False) -> Any:
    """The picture turned as its camera was held; is_lazy: only its width and height then."""
    from PIL import ExifTags, ImageOps

    turn = 1
    with suppress(Exception):  # damaged notes of a camera are no reason to do without the picture
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    if is_lazy:
        return image.size[::-1] if turn in (5, 6, 7, 8) else image.size
    return ImageOps.exif_transpose(image) if turn in range(2, 9) else image


def _in_bytes(image: Any) -> Any:
    """With 8 bits a channel, and nothing transparent."""
    from PIL import Image

    image.load()
    if image.mode in DEEP:
        return Image.fromarray(_scaled(np.asarray(image)))
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _scaled(values: np.ndarray) -> np.ndarray:
    """Values of 16 or 32 bits, or fractions, as bytes: white is the largest that their kind has.

    Fractions reach from 0 to 1, or are bytes or 16 bits, by the largest one.
    """
    found = np.nan_to_num(values.astype(np.float64))
    most = found.max()
    if values.dtype.kind == "f" and most <= 1:
        white = 1.0
    elif values.dtype.itemsize > 2 and most <= 255:
        white = 255.0
    else:
        white = _WHITE if most <= _WHITE else most
    return np.rint(found.clip(0) * (255 / white)).astype(np.uint8)
