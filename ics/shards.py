"""Shards: tar objects that hold many images, so that a thousand of them cost one request.

The layout is WebDataset's (https://github.com/webdataset/webdataset): the files of a sample share their name up to the
first dot of the last segment. Every member whose name ends like a picture's is an image; labels, texts, and members
whose last segment begins with a dot, which WebDataset passes over too, are left out.
"""

from dataclasses import replace

from ics.contracts import ImageRef
from ics.tar import Entry

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
"""How a picture's name ends, in any case."""

MAX_MEMBER_NAME = 1024
"""Characters of a member's name, as S3 allows a key."""

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4")


def is_shard(key: str) -> bool:
    """Whether an object of this key is read as a shard."""
    return key.lower().endswith(".tar")


def is_compressed(key: str) -> bool:
    """Whether the key is that of a compressed tar, from whose middle nothing can be read."""
    return key.lower().endswith(_COMPRESSED)


def is_picture(name: str) -> bool:
    """Whether a member of this name is an image."""
    return name.lower().endswith(PICTURE_ENDINGS) and not name.rpartition("/")[2].startswith(".")


def picture_of(shard: ImageRef, entry: Entry, largest: int) -> ImageRef | None:
    """The image that a member is, or None for a member that is none.

    One that cannot be read as it lies there has a `fault`: a link, a sparse file, more than `largest` bytes, too long a
    name, which is cut.
    """
    if entry.kind == "folder" or not is_picture(entry.name):
        return None
    image = replace(shard, member=entry.name[:MAX_MEMBER_NAME], offset=entry.offset, size=entry.size)
    if entry.kind != "file" or len(entry.name) > MAX_MEMBER_NAME:
        return replace(image, fault="UnreadableMember")
    return replace(image, fault="ObjectTooLarge") if entry.size > largest else image
