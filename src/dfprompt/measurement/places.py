"""Where a picture lies below a folder: any method and prompt has a file name of its own."""

from __future__ import annotations

from pathlib import Path


def picture_place(folder: str, method: str, prompt_id: str, seed: int) -> str:
    """Return the name of a picture's file below a folder.

    >>> picture_place("pictures", "best-of-4", "a/b", 3)
    'pictures/best-of-4/a_2fb-3.png'
    """
    return (Path(folder) / file_name(method) / f"{file_name(prompt_id)}-{seed}.png").as_posix()


def file_name(text: str) -> str:
    """Return a text as part of a file name: letters, digits, dots, hyphens; others as hex.

    >>> file_name("best-of-4"), file_name("a/b")
    ('best-of-4', 'a_2fb')
    """
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in ".-") else f"_{ord(letter):x}"
        for letter in text
    )
    return safe if safe.strip(".") else f"_{safe}"
