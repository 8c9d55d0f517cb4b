"""Files that survive: written whole or not at all, never through a link, by one process per folder.

A file or folder is written under a new name beside its place, put on the disk, and takes its place in one
step. A process killed at any moment leaves what stood there before, or what it wrote, whole; what it left
unfinished bears a name nobody else uses (`.dfprompt-0123456789abcdef.partial`) and is cleared by the next
command that locks the folder. Everything here raises OSError; `reported` turns it into one line for people.
"""

from dfprompt.storage.holding import check_free, check_ours, check_writable, lock_folder, tidied, writing_into
from dfprompt.storage.lines import LineFile, append_lines, parse_object, read_lines, undamaged
from dfprompt.storage.reading import (
    MOST_SETTINGS,
    iter_bytes,
    iter_user_lines,
    parse_lines,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    read_user_text,
    reading,
)
from dfprompt.storage.whole import (
    library_errors,
    remove,
    reported,
    save_tensors,
    whole_files,
    whole_folder,
    write_bytes,
    write_secret,
    write_text,
)

__all__ = [
    "MOST_SETTINGS",
    "LineFile",
    "append_lines",
    "check_free",
    "check_ours",
    "check_writable",
    "iter_bytes",
    "iter_user_lines",
    "library_errors",
    "lock_folder",
    "parse_lines",
    "parse_object",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_text",
    "read_toml",
    "read_user_text",
    "reading",
    "remove",
    "reported",
    "save_tensors",
    "tidied",
    "undamaged",
    "whole_files",
    "whole_folder",
    "write_bytes",
    "write_secret",
    "write_text",
    "writing_into",
]
