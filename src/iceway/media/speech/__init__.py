"""Two short recordings that calls can be tried with: `speech("alice")` and `speech("bob")`.

16 kHz, mono, 16 bits, about 4 s, spoken by espeak-ng. To make them again (espeak-ng and sox installed):

    espeak-ng -v en-us+f3 -s 160 --stdout "Hello Bob, this is Alice at home. Can you hear me?" \\
        | sox -D -t wav - -r 16000 -b 16 -c 1 alice.wav norm -4
    espeak-ng -v en-gb+m3 -s 160 --stdout "Hello Alice, this is Bob. I hear you, loud and clear." \\
        | sox -D -t wav - -r 16000 -b 16 -c 1 bob.wav norm -4
"""

from __future__ import annotations

from pathlib import Path

from iceway.core.errors import UsageError

SPEAKERS = ("alice", "bob")


def speech(speaker: str) -> Path:
    """The recording of a speaker, as a file."""
    if speaker not in SPEAKERS:
        raise UsageError(f"there are recordings of {' and '.join(SPEAKERS)}, not of {speaker!r}")
    return Path(__file__).with_name(f"{speaker}.wav")
