"""`iceway answer`: register, wait for calls, answer them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from iceway.cli import Exit, _client


def register(app: typer.Typer) -> None:
    app.command("answer")(answer)


@_client.with_client_options
def answer(
    options: _client.ClientOptions,
    play: _client.Play = None,
    record: Annotated[
        str | None,
        typer.Option(metavar="TO", help=f"{_client.RECORD} {{n}} in a file's name counts the calls."),
    ] = None,
    video: _client.Video = None,
    share: _client.Share = None,
    loop: _client.Loop = False,
    ring_for: Annotated[
        float, typer.Option(help="Ring for so many seconds, with early media, then answer.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="End after the first call.")] = False,
    json: _client.AsJson = False,
) -> int:
    """Wait for calls and answer each after it has rung for a moment. Ends with Ctrl-C, or with --once."""
    from iceway.client.media import Media
    from iceway.client.run import CallFailed, RegistrationFailed, make_media
    from iceway.io.run import run
    from iceway.io.specs import Chosen

    identity = _client.sip_uri(options.identity)
    tell = _client.Teller(json)
    chosen = Chosen(play, record, video, share, loop)
    chosen.rehearse()  # what is wrong is said now, not to the first caller
    calls = 0

    def media(_: str) -> Media:
        nonlocal calls
        calls += 1
        opened = replace(chosen, record=record and record.replace("{n}", str(calls))).open()
        return make_media(opened.source, opened.sink, video=opened.video, share=opened.slides)

    def registration(lost: str | None) -> None:
        if lost is None:
            tell.step("registered", "registered again", identity=identity)
        else:
            tell.step("unregistered", f"registration lost, trying again: {lost}", reason=lost)

    client = _client.make_client(
        options,
        ring_for=ring_for,
        media=media,
        on_registration=registration,
        on_news=lambda _, news: _client.tell_news(tell, news),
    )

    async def main() -> int:
        try:
            await client.start()
        except RegistrationFailed as failure:
            return _client.not_registered(tell, failure, client)
        try:
            tell.step("registered", f"registered as {identity}, waiting for calls", identity=identity)
            while True:
                try:
                    live = await client.incoming()
                except RegistrationFailed as failure:
                    return _client.not_registered(tell, failure, client)
                tell.step("ringing", f"{live.peer} calls", peer=live.peer)
                try:
                    await live.answered()
                    tell.step("answered", f"talking with {live.peer}", peer=live.peer)
                    live = await _client.followed(live)
                except CallFailed as failure:
                    tell.step("failed", f"no call: {failure}", peer=live.peer, reason=str(failure))
                else:
                    from iceway.explain.summary import headline

                    path = live.path
                    stats = live.stats().as_json()
                    tell.step(
                        "ended", headline(path), path=path.path.value, reason=live.end_reason, stats=stats
                    )
                if once:
                    return Exit.DONE if live.was_answered else Exit.FAILED
        finally:
            await client.stop()

    ending = run(main())
    return Exit.DONE if ending is None else ending
