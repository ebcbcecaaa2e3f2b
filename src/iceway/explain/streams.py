"""What the streams of a call are called, for people: sound, the picture, the shared screen."""

from __future__ import annotations

AUDIO = "audio"
_NAMES = {AUDIO: "the sound", "video": "the picture", "slides": "the shared screen"}
_BARE = {AUDIO: "sound", "video": "picture", "slides": "shared screen"}


def named(media: str) -> str:
    """In a sentence: "the sound", "the picture"."""
    return _NAMES.get(media, media)


def bare(media: str) -> str:
    """After a possessive, or as a label: "sound", "picture"."""
    return _BARE.get(media, media)


def first(media: str) -> str:
    """What somebody notices when the stream begins: "hears the first sound"."""
    return "hears the first sound" if media == AUDIO else f"sees {named(media)}"
