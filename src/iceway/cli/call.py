"""`iceway call`: call somebody, play, show, record, and tell how the media went."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.cli import Exit, _client
from iceway.core.errors import UsageError

if TYPE_CHECKING:
    from iceway.client.run import LiveCall


KEY = 0.1  # seconds that a telephone key is held down


def register(app: typer.Typer) -> None:
    app.command("call")(call)


@_client.with_client_options
def call(
    peer: Annotated[
        str, typer.Argument(help="Whom to call: bob@example.test; bob alone is of your own domain.")
    ],
    options: _client.ClientOptions,
    play: _client.Play = None,
    record: _client.Recording = None,
    video: _client.Video = None,
    share: _client.Share = None,
    loop: _client.Loop = False,
    duration: Annotated[
        float | None,
        typer.Option(help="Hang up so many seconds after the answer (default: when `play` is out)."),
    ] = None,
    dtmf: Annotated[
        str | None,
        typer.Option(metavar="KEYS", help="Press these telephone keys after the answer: 0-9 * # A-D."),
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option(
            metavar="SIP",
            help="Once `play` is out or `duration` is over, pass the other side on to this address.",
        ),
    ] = None,
    answer_within: Annotated[
        float, typer.Option(help="Give up if nobody answers for so many seconds.")
    ] = 60.0,
    json: _client.AsJson = False,
) -> int:
    """Call somebody and say how the media found its way.

    Without --play, --duration and --transfer the call lasts until the other side hangs up. If that passes us on to
    somebody else, the call goes on with them. Exit code 1: no call came of it, or nothing of --transfer; 130: interrupted
    (Ctrl-C hangs up).
    """
    from iceway.client.run import CallFailed, RegistrationFailed
    from iceway.io.run import run
    from iceway.io.specs import Chosen
    from iceway.media.digits import checked

    if dtmf is not None:
        try:
            checked(dtmf, KEY)
        except UsageError as error:
            raise UsageError(f"--dtmf: {error}") from error
    identity = _client.sip_uri(options.identity)
    peer_uri = _client.sip_uri(peer, of=identity)
    heir = None if transfer is None else _client.sip_uri(transfer, of=identity)
    tell = _client.Teller(json)
    chosen = Chosen(play, record, video, share, loop)
    client = _client.make_client(options, on_news=lambda _, news: _client.tell_news(tell, news))
    opened = chosen.open()

    async def main() -> int:
        try:
            await client.start()
        except RegistrationFailed as failure:
            return _client.not_registered(tell, failure, client)
        try:
            tell.step("registered", f"registered as {identity}", identity=identity)
            live = await client.call(
                peer_uri,
                play=opened.source,
                record=opened.sink,
                video=opened.video,
                share=opened.slides,
            )
            try:
                await live.answered(answer_within)
                tell.step("answered", f"{peer} answered", peer=peer)
                if dtmf is not None:
                    live.send_dtmf(dtmf, KEY)
                live = await _last(live, 0.0 if heir and not play else duration, played=play is not None)
                if heir is not None:
                    live.transfer(heir)
                    await live.transferred(answer_within)
            except CallFailed as failure:
                if heir is not None or not live.was_answered:
                    live.hang_up()
                    tell.step("failed", f"no call: {failure}", reason=str(failure))
                    tell.text(live.explain())
                    return Exit.FAILED
            live.hang_up()
            from iceway.explain.summary import headline

            path = live.path
            stats = live.stats().as_json()
            tell.step("ended", headline(path), path=path.path.value, reason=live.end_reason, stats=stats)
            tell.text(live.explain())
            return Exit.DONE
        finally:
            await client.stop()

    try:
        ending = run(main())
    finally:
        opened.close()  # nobody else does if it never came to a call
    return Exit.INTERRUPTED if ending is None else ending


async def _last(live: LiveCall, duration: float | None, *, played: bool) -> LiveCall:
    """Until the other side hangs up, or it is time to; the call that it came to, since it may have been passed on."""
    from iceway.client.run import CallFailed

    if duration is None and not played:
        return await _client.followed(live)
    clock = asyncio.get_running_loop().time
    over = None if duration is None else clock() + duration
    while True:
        try:
            if over is None:
                await live.played()
                over = clock() + 1.0  # the other side's last words are still on their way
            await live.ended(max(0.0, over - clock()))
        except CallFailed:
            if over is not None:
                return live
        if live.successor is None:
            return live
        live = live.successor
        await live.answered()
