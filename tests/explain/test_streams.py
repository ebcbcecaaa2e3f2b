"""What streams are called."""

from iceway.explain.streams import bare, first, named, opinion


def test_each_stream_has_its_words() -> None:
    assert [named(media) for media in ("audio", "video", "slides")] == [
        "the sound",
        "the picture",
        "the shared screen",
    ]
    assert f"Alice's {bare('slides')}" == "Alice's shared screen"
    assert (first("audio"), first("video")) == ("hears the first sound", "sees the picture")


def test_a_stream_of_later_days_keeps_its_name() -> None:
    assert (named("text"), bare("text"), first("text")) == ("text", "text", "sees text")


def test_scores_in_words() -> None:
    assert [opinion(mos) for mos in (4.41, 4.1, 3.7, 3.2, 2.0)] == [
        "excellent",
        "good",
        "fair",
        "poor",
        "bad",
    ]
