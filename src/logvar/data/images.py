"""Folders of images of one size; labels are the names of subfolders, if there are any."""

from pathlib import Path

import numpy as np

from logvar.errors import LogvarError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def read_folder(folder: Path) -> tuple[np.ndarray, None, np.ndarray | None, None]:
    """Return (images, None, labels, None): images (rows, height, width, 1 or 3) as uint8.

    Raises:
        LogvarError: there are no images, one cannot be read, or their sizes differ.
    """
    from PIL import Image, UnidentifiedImageError

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not paths:
        raise LogvarError(
            f"{folder} has no images ({', '.join(ENDINGS)}) and no IDX files: give another folder"
        )
    images = []
    for path in paths:
        try:
            with Image.open(path) as image:
                grey = image.mode in ("1", "L", "LA", "I", "I;16", "F")
                array = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
        except (
            UnidentifiedImageError,
            Image.DecompressionBombError,
            OSError,
            SyntaxError,
            ValueError,
        ) as error:
            raise LogvarError(
                f"{path} is not a whole image ({error}): repair or remove it"
            ) from error
        images.append(array[..., None] if grey else array)
        if images[-1].shape[:2] != images[0].shape[:2]:
            raise LogvarError(
                f"{path} is {_size(images[-1])} but {paths[0]} is {_size(images[0])}: expected "
                "images of one size; resize them"
            )
    channels = max(image.shape[2] for image in images)
    rows = np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in images])
    groups = [path.parent.relative_to(folder).as_posix() for path in paths]
    labels = np.unique(groups, return_inverse=True)[1] if len(set(groups)) > 1 else None
    return rows, None, labels, None


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} × {image.shape[0]}"
