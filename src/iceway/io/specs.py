"""What a call says, shows and keeps, as people write it on a command line: one word for each.

    sound       mic, mic:NAME, tone:HZ, silence, or a file
    pictures    camera, camera:/dev/video1, screen, screen:2, screen:1+X,Y,WIDTHxHEIGHT, window:TITLE, window:0xID,
                pattern, pattern:WIDTHxHEIGHT, watch (see theirs, show none), or a file
    what comes  speakers, speakers:NAME, FILE.wav, FILE.mkv (with pictures)

A file that is named `mic` is `./mic`. What is wrong raises UsageError or EnvironmentFailure, and says what there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iceway.core.errors import UsageError
from iceway.io.recording import Recording
from iceway.io.x11 import Region
from iceway.media.files import FileSource, NullSink, SilenceSource, Sink, Source, ToneSource, WavSink
from iceway.media.movie import Movie
from iceway.media.pattern import PatternSource
from iceway.media.pictures import Pictures, PictureSink, PictureSource
from iceway.media.supplied import let_go
from iceway.media.video_files import VideoFileSource, streams_of

SOUND = "mic, mic:NAME, tone:HZ, silence or a file"
PICTURES = "camera, camera:DEVICE, screen, screen:N+X,Y,WxH, window:TITLE, pattern, watch or a file"
SINKS = "speakers, speakers:NAME, FILE.wav or FILE.mkv"

VIDEO_SIZE, VIDEO_RATE, VIDEO_BUDGET = (640, 360), 15.0, 600_000
SLIDES_SIZE, SLIDES_RATE, SLIDES_BUDGET = (1280, 720), 10.0, 1_000_000

_SCREEN = re.compile(
    r"screen(?::(?P<monitor>\d{1,2}))?(?:\+(?P<x>\d{1,5}),(?P<y>\d{1,5}),(?P<size>\d+x\d+))?"
)
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_NO_RECORDING = {".mp4", ".mov", ".webm", ".avi", ".ogg", ".mp3", ".opus"}


@dataclass(slots=True)
class Opened:
    """Sources and sinks of one call. `video` and `slides` are None where the call has no such stream."""

    source: Source
    sink: Sink
    video: Pictures | None
    slides: Pictures | None

    def close(self) -> None:
        """Let go of everything; what a call has let go of already stays so."""
        for what in (self.source, self.sink):
            let_go(what)
        for pictures in (self.video, self.slides):
            if pictures is not None:
                let_go(pictures.source)
                let_go(pictures.sink)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The words for one call, or for every call that comes in. `loop`: files are played over and over."""

    play: str | None = None
    record: str | None = None
    video: str | None = None
    share: str | None = None
    loop: bool = False

    def __post_init__(self) -> None:
        """Say what is wrong with the words themselves before anything is opened."""
        for option, word, check in (
            ("--play", self.play, _sound_maker),
            ("--video", self.video, _pictures_maker),
            ("--share", self.share, _pictures_maker),
            ("--record", self.record, _check_sink),
        ):
            if word is not None:
                try:
                    check(word)
                except UsageError as error:
                    raise UsageError(f"{option}: {error}") from error
                if word == "watch" and not self._keeps_pictures:
                    raise UsageError(f"{option}: nobody would see it; --record FILE.mkv keeps what is shown")

    @property
    def _keeps_pictures(self) -> bool:
        return self.record is not None and Path(self.record).suffix.lower() == ".mkv"

    def open(self) -> Opened:
        """Open all of it, or nothing."""
        source, shown, slides = self._sources()
        try:
            return self._joined(source, shown, slides)
        except BaseException:
            for what in (source, shown, slides):
                let_go(what)
            raise

    def rehearse(self) -> None:
        """Open what is played and shown, and let go of it: what is wrong with it is raised before anybody calls."""
        for what in self._sources():
            let_go(what)

    def _sources(self) -> tuple[Source, PictureSource | None, PictureSource | None]:
        """What is said, what is shown and what is shared."""
        source, shown = self._played()
        try:
            if self.video is not None and shown is None:
                shown = pictures_source(self.video, VIDEO_SIZE, VIDEO_RATE, loop=self.loop)
            slides = None
            if self.share is not None:
                slides = pictures_source(self.share, SLIDES_SIZE, SLIDES_RATE, loop=self.loop)
        except BaseException:
            let_go(source)
            let_go(shown)
            raise
        return source, shown, slides

    def _joined(self, source: Source, shown: PictureSource | None, slides: PictureSource | None) -> Opened:
        sink: Sink = NullSink()
        seen: PictureSink | None = None
        shared: PictureSink | None = None
        if self.record is not None and self._keeps_pictures:
            recorder = Recording(self.record, size=VIDEO_SIZE, slides=SLIDES_SIZE if self.share else None)
            sink, seen = recorder.sound, recorder.pictures
            shared = recorder.slides if self.share is not None else None
        elif self.record is not None:
            sink = sound_sink(self.record)
        return Opened(
            source,
            sink,
            _stream(shown, seen, VIDEO_RATE, VIDEO_BUDGET),
            _stream(slides, shared, SLIDES_RATE, SLIDES_BUDGET),
        )

    def _played(self) -> tuple[Source, PictureSource | None]:
        """What is said, and shown with it: a file with pictures gives both in step, unless other ones are named."""
        if self.play is None:
            return SilenceSource(), None
        if _is_file(self.play) and self.video in (None, self.play):
            kinds = streams_of(self.play)
            if kinds == {"audio", "video"}:
                movie = Movie(self.play, loop=self.loop, limit=VIDEO_SIZE)
                return movie.sound, movie.pictures
        return sound_source(self.play, loop=self.loop), None


def sound_source(word: str, *, loop: bool = False) -> Source:
    return _sound_maker(word)(loop)


def pictures_source(
    word: str, limit: tuple[int, int], frame_rate: float, *, loop: bool = False
) -> PictureSource | None:
    """None for `watch`. Pictures are no larger than `limit`."""
    return _pictures_maker(word)(limit, frame_rate, loop)


def sound_sink(word: str) -> Sink:
    _check_sink(word)
    kind, _, name = word.partition(":")
    if kind == "speakers":
        from iceway.io.sound_devices import Speakers

        return Speakers(name or None)
    return WavSink(word)


# --- what the words mean ----------------------------------------------------------------------------------
def _sound_maker(word: str) -> Callable[[bool], Source]:
    kind, _, rest = word.partition(":")
    match kind:
        case "silence" if not rest:
            return lambda loop: SilenceSource()
        case "tone":
            frequency = _frequency(rest or "440")
            return lambda loop: ToneSource(frequency)
        case "mic":

            def microphone(loop: bool) -> Source:
                from iceway.io.sound_devices import Microphone

                return Microphone(rest or None)

            return microphone
    if not _is_file(word):
        raise UsageError(f"there is no recording {word}; sound comes from {SOUND}")
    return lambda loop: FileSource(word, loop=loop)


_Maker = Callable[[tuple[int, int], float, bool], PictureSource | None]


def _pictures_maker(word: str) -> _Maker:
    kind, _, rest = word.partition(":")
    if (screen := _SCREEN.fullmatch(word)) is not None:
        return _screen_maker(screen)
    match kind:
        case "watch" if not rest:
            return lambda limit, rate, loop: None
        case "pattern":
            size = _size(rest) if rest else None
            return lambda limit, rate, loop: PatternSource(*(size or limit))
        case "camera":
            return _camera_maker(rest)
        case "window":
            return _window_maker(rest)
        case "screen":
            raise UsageError(
                f"{word!r} is no part of the screen; write screen, screen:2 or screen:1+100,50,640x480"
            )
    if not _is_file(word):
        raise UsageError(f"there is no file {word}; pictures come from {PICTURES}")
    return lambda limit, rate, loop: VideoFileSource(word, frame_rate=rate, loop=loop, limit=limit)


def _screen_maker(named: re.Match[str]) -> _Maker:
    monitor = int(named["monitor"]) if named["monitor"] else None
    region = None
    if named["size"]:
        region = Region(int(named["x"]), int(named["y"]), *_size(named["size"]))

    def screen(limit: tuple[int, int], rate: float, loop: bool) -> PictureSource:
        from iceway.io.screen import ScreenSource

        return ScreenSource(region, monitor=monitor, limit=limit)

    return screen


def _window_maker(title: str) -> _Maker:
    if not title:
        raise UsageError("which window? write window:TITLE, or window:0x1400007; `iceway devices` lists them")
    number = int(title, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", title) else None

    def window(limit: tuple[int, int], rate: float, loop: bool) -> PictureSource:
        from iceway.io.screen import WindowSource

        return WindowSource(title if number is None else number, limit=limit)

    return window


def _camera_maker(device: str) -> _Maker:
    def camera(limit: tuple[int, int], rate: float, loop: bool) -> PictureSource:
        from iceway.io.camera import DEVICE, CameraSource

        return CameraSource(device or DEVICE, size=limit)

    return camera


def _check_sink(word: str) -> None:
    if word.partition(":")[0] == "speakers":
        return
    if Path(word).suffix.lower() in _NO_RECORDING:
        raise UsageError(
            f"{word}: recordings are WAV (sound) or MKV (with pictures); what comes goes to {SINKS}"
        )


def _stream(
    source: PictureSource | None, sink: PictureSink | None, rate: float, budget: int
) -> Pictures | None:
    if source is None and sink is None:
        return None
    return Pictures(source, sink, frame_rate=rate, budget=budget)


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # a name too long for a file, or a directory that is not ours to look into
        return False


def _frequency(text: str) -> float:
    if not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", text) or not 20 <= float(text) <= 20_000:
        raise UsageError(f"{text!r} is no pitch between 20 and 20000 Hz; write tone:440")
    return float(text)


def _size(text: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if found is None or not (16 <= int(found[1]) <= 4096 and 16 <= int(found[2]) <= 2304):
        raise UsageError(f"{text!r} is no size between 16x16 and 4096x2304; write 640x360")
    return int(found[1]) & ~1, int(found[2]) & ~1
