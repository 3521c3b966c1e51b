"""What leads elsewhere: a symbolic link, on Windows also a junction or whatever else names a place.

`os.path.islink` and `Path.is_symlink` know symbolic links alone. What decides here are the fields that
`os.lstat` publishes on Windows: st_file_attributes and st_reparse_tag.
"""

from __future__ import annotations

import os
import stat
from typing import Any

REPARSE_POINT = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT
# A tag with this bit stands for another named place (IsReparseTagNameSurrogate): links, junctions. Without it
# the content is the file's own, only kept otherwise: compressed, deduplicated, in a cloud folder.
NAMES_A_PLACE = 0x20000000
APP_LINK = 0x8000001B  # IO_REPARSE_TAG_APPEXECLINK leads to a program


def is_link(path: str | os.PathLike[str]) -> bool:
    """Return whether a name is there and leads elsewhere."""
    try:
        return leads_elsewhere(lstat(path))
    except (OSError, ValueError):
        return False


def leads_elsewhere(facts: Any) -> bool:
    """Return whether what `os.lstat` tells of a name is a link of any kind."""
    if stat.S_ISLNK(facts.st_mode):
        return True
    if not getattr(facts, "st_file_attributes", 0) & REPARSE_POINT:
        return False
    tag = getattr(facts, "st_reparse_tag", 0)
    return not tag or bool(tag & NAMES_A_PLACE) or tag == APP_LINK


def lstat(path: str | os.PathLike[str]) -> os.stat_result:
    """Return what the system tells of a name itself."""
    return os.lstat(path)
