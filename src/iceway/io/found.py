"""What this machine has for a call: devices, screens and windows, each by the word that `specs.py` takes for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from iceway.core.errors import EnvironmentFailure


@dataclass(frozen=True, slots=True)
class Found:
    """`word`: what to write for it; `default`: what the bare word means."""

    word: str
    name: str
    default: bool = False


@dataclass(slots=True)
class Surroundings:
    """`troubles` say why a kind could not be looked for, and what to do."""

    microphones: list[Found] = field(default_factory=list)
    speakers: list[Found] = field(default_factory=list)
    cameras: list[Found] = field(default_factory=list)
    screens: list[Found] = field(default_factory=list)
    windows: list[Found] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def look_around() -> Surroundings:
    found = Surroundings()
    for look in (_sound, _cameras, _desktop):
        _try(look, found)
    return found


def _try(look: Callable[[Surroundings], None], found: Surroundings) -> None:
    try:
        look(found)
    except EnvironmentFailure as failure:
        found.troubles.append(str(failure))


def _sound(found: Surroundings) -> None:
    from iceway.io.sound_devices import sound_devices

    for one in sound_devices():
        if one.inputs:
            found.microphones.append(Found(f"mic:{one.name}", _channels(one.inputs), one.chosen_input))
        if one.outputs:
            found.speakers.append(Found(f"speakers:{one.name}", _channels(one.outputs), one.chosen_output))


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _cameras(found: Surroundings) -> None:
    from iceway.io.camera import DEVICE, cameras

    found.cameras += [Found(f"camera:{device}", name, device == DEVICE) for device, name in cameras()]


def _desktop(found: Surroundings) -> None:
    from iceway.io.screen import screens
    from iceway.io.x11 import WindowServer

    regions = screens()
    for number, region in enumerate(regions):
        what = "all screens together, " if number == 0 and len(regions) > 2 else ""
        found.screens.append(Found(f"screen:{number}", f"{what}{region}", number == min(1, len(regions) - 1)))
    with WindowServer() as server:
        found.windows += [
            Found(f"window:0x{window.id:x}", f"{window.title}, {window.region}")
            for window in server.windows()
        ]
