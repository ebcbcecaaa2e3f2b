"""A call through a relay in which somebody shares a real desktop: a window that moves as the picture, all as slides.

    python -m tests.e2e.shared_desktop docs/desktop.png      (root; Xvfb, python3-tk, nftables)

makes the picture in the documents: what Bob saw, in the middle of the call, of the screen that Alice shared.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import av

from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.media.picture import Picture, frame_of, picture_of
from iceway.media.speech import speech
from iceway.trace.entry import Entry
from tests.interop.desktop import Desktop

TITLE = "Quarterly figures"
NOTES = "For the call with Bob\n\n· the figures move\n· he sees them move\n· through the relay"
SECONDS = 8.0
SHARED = ("--video", f"window:{TITLE}", "--share", "screen")


@dataclass(frozen=True, slots=True)
class Shared:
    """`window` and `screen`: what the other side saw, each with its time; `entries`: everybody's trace."""

    window: list[tuple[float, Picture]]
    screen: list[tuple[float, Picture]]
    heard: Path
    entries: list[Entry]


def share(directory: Path) -> Shared:
    with Desktop(1024, 576) as desktop, mock.patch.dict("os.environ", DISPLAY=desktop.display):
        desktop.notes("Notes", NOTES)
        desktop.moving_window(TITLE)
        with KernelOffice(topologies.relayed_udp(), directory) as office:
            office.answers("bob", speech("bob"), "bob.mkv", options=("--share", "watch"))
            options = (*SHARED, "--loop", "--duration", str(SECONDS))
            code = office.calls("alice", "bob", speech("alice"), "alice.mkv", options=options)
            assert code == 0, office.log("alice")
            office.ends("bob")
            for server in ("edge", "frontend"):
                office.stop(server)
            entries = office.trace()
    recording = directory / "bob.mkv"
    return Shared(_pictures(recording, 0), _pictures(recording, 1), recording, entries)


def write_png(picture: Picture, path: Path) -> None:
    frame = frame_of(picture).reformat(format="rgb24")
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
    encoder.options = {"pred": "mixed", "compression_level": "9"}
    encoder.time_base = frame.time_base = 1
    path.write_bytes(b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))))


def _pictures(recording: Path, stream: int) -> list[tuple[float, Picture]]:
    with av.open(str(recording)) as container:
        return [(frame.time or 0.0, picture_of(frame)) for frame in container.decode(video=stream)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        screen = share(Path(directory)).screen
    write_png(picture_of(frame_of(screen[len(screen) // 2][1]), 800, 450), Path(sys.argv[1]))
