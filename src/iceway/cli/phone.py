"""`iceway phone`: a phone for people, in the terminal."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.cli import Exit, _client

if TYPE_CHECKING:
    from iceway.client.run import Client
    from iceway.media.files import Sink, Source
    from iceway.media.pictures import Pictures
    from iceway.tui.card import Watched
    from iceway.tui.desk import Desk


def register(app: typer.Typer) -> None:
    app.command("phone")(phone)


@_client.with_client_options
def phone(
    options: _client.ClientOptions,
    play: Annotated[
        str, typer.Option(metavar="SOUND", help="What you say: mic, mic:NAME, tone:HZ, silence or a file.")
    ] = "mic",
    hear: Annotated[
        str, typer.Option(metavar="SPEAKERS", help="Where you hear them: speakers, speakers:NAME or nothing.")
    ] = "speakers",
    video: Annotated[
        str,
        typer.Option(metavar="PICTURES", help="What `v` shows: camera, camera:DEVICE, pattern or a file."),
    ] = "camera",
    share: Annotated[
        str, typer.Option(metavar="PICTURES", help="What `s` shows: screen, window:TITLE and so on.")
    ] = "screen",
    recordings: Annotated[
        Path | None, typer.Option(help="Directory for recordings (default: in $XDG_DATA_HOME).")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="File for warnings (default: in $XDG_STATE_HOME).")] = None,
) -> int:
    """A phone in the terminal: contacts, calls, and how each call goes, live. Press ? in it for its keys.

    `iceway devices` lists what --play, --hear, --video and --share can name.
    """
    import asyncio
    import signal

    from iceway.io import logging
    from iceway.io.run import run
    from iceway.tui import terminal
    from iceway.tui.app import PhoneApp
    from iceway.tui.card import Options
    from iceway.tui.contacts import ContactBook
    from iceway.tui.desk import Desk
    from iceway.tui.voice import Devices

    terminal.must_be_a_terminal()
    identity = _client.sip_uri(options.identity)
    password = _client.read_password(options.password_file, identity)
    chosen = {"video": video, "slides": share}

    def connect(desk: Desk) -> Client:
        _check(play, hear, video, share)
        return _client.make_client(
            options,
            password=password,
            media=desk.attend,
            on_registration=desk.registration,
            on_news=desk.news,
            listeners=(desk.story.hear,),
        )

    desk = Desk(
        connect,
        ContactBook.of_user(),
        Options(
            Devices(partial(_source, play), partial(_sink, hear)),
            recordings or terminal.recordings_directory(),
            identity.rpartition("@")[2],
            lambda kind, watched: _pictures(kind, chosen[kind], watched),
        ),
    )
    app = PhoneApp(desk, identity, speakers=None if hear == "nothing" else partial(_sink, hear))

    async def main() -> None:
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # the window was closed
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.exit)
        try:
            await app.run_async()
        finally:
            await desk.leave()

    with terminal.all_to_ourselves(log or terminal.state_directory() / "phone.log") as out:
        logging.configure(stream=out)
        try:
            run(main())
        finally:
            logging.configure()
    if app.return_value is not None:
        raise app.return_value
    return app.return_code or Exit.DONE


def _check(play: str, hear: str, video: str, share: str) -> None:
    """What is wrong with the words is said before anything is opened."""
    from iceway.core.errors import UsageError
    from iceway.io.specs import Chosen

    Chosen(play=play)
    Chosen(video=None if video == "watch" else video)
    Chosen(share=None if share == "watch" else share)
    if hear != "nothing" and hear.partition(":")[0] != "speakers":
        raise UsageError(f"--hear: {hear!r} is neither speakers, speakers:NAME nor nothing")


def _source(word: str) -> Source:
    from iceway.io.specs import sound_source

    return sound_source(word, loop=True)


def _sink(word: str) -> Sink:
    from iceway.io.specs import sound_sink
    from iceway.media.files import NullSink

    return NullSink() if word == "nothing" else sound_sink(word)


def _pictures(kind: str, word: str, watched: Watched) -> Pictures:
    from iceway.io import specs
    from iceway.media.pictures import Pictures

    if kind == "video":
        size, rate, budget = specs.VIDEO_SIZE, specs.VIDEO_RATE, specs.VIDEO_BUDGET
    else:
        size, rate, budget = specs.SLIDES_SIZE, specs.SLIDES_RATE, specs.SLIDES_BUDGET
    source = specs.pictures_source(word, size, rate, loop=True)
    return Pictures(source, watched, frame_rate=rate, budget=budget)
