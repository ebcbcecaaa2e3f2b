"""The streams of a call in words, for people: what they are called, and how good is good."""

from __future__ import annotations

AUDIO = "audio"
_NAMES = {AUDIO: "the sound", "video": "the picture", "slides": "the shared screen"}
_BARE = {AUDIO: "sound", "video": "picture", "slides": "shared screen"}


WHY_FROZEN = {
    "loss": "packets were lost on the way and had to be sent again",
    "no whole picture": "so much was lost that a whole new picture was needed",
    "nothing came": "nothing was lost, but nothing came either",
}
_OPINIONS = ((4.3, "excellent"), (4.0, "good"), (3.6, "fair"), (3.1, "poor"))


def opinion(mos: float) -> str:
    """Bounds near those of G.107 Annex B between which users are satisfied, some are not, or hardly any is."""
    return next((words for least, words in _OPINIONS if round(mos, 1) >= least), "bad")


def named(media: str) -> str:
    """In a sentence: "the sound", "the picture"."""
    return _NAMES.get(media, media)


def bare(media: str) -> str:
    """After a possessive, or as a label: "sound", "picture"."""
    return _BARE.get(media, media)


def first(media: str) -> str:
    """What somebody notices when the stream begins: "hears the first sound"."""
    return "hears the first sound" if media == AUDIO else f"sees {named(media)}"
