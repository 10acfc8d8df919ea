"""Images: which files of a folder are read, how they become arrays, and PNG files out.

Nothing here needs JAX. A folder is read by `reading.read_folder`; `ImageReading` keeps how, so that
later folders are read the same way.
"""

from logvar.data.images.reading import ImageReading, Images, read_folder
from logvar.data.images.shapes import shaped
from logvar.data.images.writing import pixels, write_grid, write_pictures

__all__ = [
    "ImageReading",
    "Images",
    "pixels",
    "read_folder",
    "shaped",
    "write_grid",
    "write_pictures",
]
