"""Options of the commands: what is wrong with them is said before anything starts, by the option's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iceway import cli
from iceway.cli import _client
from iceway.client import LiveCall, TransferRequest, events
from iceway.io.devca import DevCa

FRONTEND = """\
domain = "example.test"
name = "fe.example.test"
listen = [{ address = "127.0.0.1:5071" }]

[tls]
certificate = "ca/frontend.pem"
key = "ca/frontend.key"
trust = "ca/ca.pem"
"""


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICEWAY_PASSWORD", "secret")


@pytest.fixture
def frontend(tmp_path: Path) -> str:
    """The configuration of a front end."""
    DevCa.open(tmp_path / "ca").issue("frontend", ["fe.example.test"])
    file = tmp_path / "frontend.toml"
    file.write_text(FRONTEND, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("command", [["call", "bob@example.test"], ["answer"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--nameserver", "ns.example.test"], 2, "--nameserver: 'ns.example.test' is not an IP address"),
        (["--nameserver", "192.0.2.1:http"], 2, "--nameserver: 'http' is not a port"),
        (["--interface", "eth0"], 2, "--interface: 'eth0' is not an IP address"),
        (["--without", "tun0"], 2, "--without: 'tun0' is no address and no subnet"),
        (["--ports", "50000"], 2, "--ports: '50000' is no range of ports; write 50000-50099"),
        (["--ports", "9-8"], 2, "--ports: 9 to 8 is no range of ports"),
        (["--external-ip", "10.0.0.5"], 2, "does not name two addresses; write 10.0.0.5=203.0.113.5"),
        (["--relay-family", "5"], 2, "--relay-family: relay families are 4 and 6"),
        (["--keys", "zrtp"], 2, "--keys: 'zrtp' is none of both, dtls, sdes"),
        (["--relay-only", "--no-relay"], 2, "--relay-only and --no-relay leave nothing"),
        (["--relay", "av.example.test"], 2, "'av.example.test' is not a relay; write stun:host"),
        (["--server", "tls:"], 2, "'tls:' is not a server; write tls:host:port"),
        (["--play", "none.wav"], 2, "--play: there is no recording none.wav"),
        (["--play", "tone:high"], 2, "--play: 'high' is no pitch between 20 and 20000 Hz"),
        (["--video", "none.mp4"], 2, "--video: there is no file none.mp4; pictures come from camera"),
        (["--video", "watch"], 2, "--video: nobody would see it; --record FILE.mkv"),
        (["--video", "camera:/dev/video99"], 3, "there is no camera /dev/video99"),
        (["--share", "window:"], 2, "--share: which window?"),
        (["--share", "screen:9x9"], 2, "--share: 'screen:9x9' is no part of the screen"),
        (["--record", "a.mp4"], 2, "--record: a.mp4: recordings are WAV (sound) or MKV (with pictures)"),
        (["--ca", "none.pem"], 3, "the authority none.pem cannot be read: No such file or directory"),
        (["--password-file", "none"], 2, "the password file none cannot be read"),
        (["--trace", "/nowhere/x.jsonl"], 3, "cannot write the trace /nowhere/x.jsonl"),
        (["--as", "alice"], 2, "write sip:user@domain"),
        (["--as", "a b@example.test"], 2, "'a b@example.test' is not a SIP address; write bob@example.test"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_client_s_options(
    command: list[str], options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    who = [] if "--as" in options else ["--as", "alice@example.test"]
    assert cli.run([*command, *who, *options]) == code
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""


def test_an_authority_that_is_no_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    assert cli.run(["answer", "--as", "bob@example.test", "--ca", str(tmp_path / "ca.pem")]) == 2
    assert "holds no certificate; name a PEM file" in capsys.readouterr().err


def test_somebody_who_cannot_be_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["call", "bob example", "--as", "alice@example.test"]) == 2
    assert "'bob example' is not a SIP address" in capsys.readouterr().err


def test_without_a_password_and_nobody_to_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ICEWAY_PASSWORD")
    assert cli.run(["answer", "--as", "bob@example.test"]) == 2
    assert "name a --password-file or set ICEWAY_PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["edge", "frontend"])
def test_a_server_s_configuration(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.toml"
    assert cli.run([command, "--config", str(missing)]) == 3
    assert f"{missing} cannot be read" in capsys.readouterr().err
    broken = tmp_path / "broken.toml"
    broken.write_text('domain = "example')
    assert cli.run([command, "-c", str(broken)]) == 3
    assert "is not TOML" in capsys.readouterr().err
    broken.write_text('domain = "example.test"\nnonsense = 1\n')
    assert cli.run([command, "-c", str(broken)]) == 3
    told = capsys.readouterr().err
    assert "name: Field required" in told
    assert "nonsense: Extra inputs are not permitted" in told


def test_the_certificate_of_a_server_that_is_not_there(
    frontend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(frontend).with_name("ca").joinpath("frontend.key").unlink()
    assert cli.run(["frontend", "-c", frontend]) == 3
    assert "frontend.key" in capsys.readouterr().err


def test_where_to_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    serve = ["serve", "--domain", "example.test", "--data", str(data)]
    assert cli.run([*serve, "--listen", "localhost"]) == 2
    assert "--listen: 'localhost' is not an IP address" in capsys.readouterr().err
    assert not data.exists(), "nothing was written for what cannot be"
    assert cli.run([*serve, "--listen", "203.0.113.5"]) == 3
    assert "address 203.0.113.5 is not on this machine" in capsys.readouterr().err
    assert cli.run(["serve"]) == 2
    assert "--domain" in capsys.readouterr().err


def test_users_come_and_go(frontend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def user(*words: str) -> tuple[int, str]:
        code = cli.run(["user", *words, "-c", frontend])
        told = capsys.readouterr()
        return code, told.out + told.err

    word = tmp_path / "word"
    word.write_text("from a file\n")
    assert user("list") == (0, "")
    assert user("add", "alice") == (0, "added sip:alice@example.test\n")
    assert user("add", "bob@example.test", "--password-file", str(word)) == (
        0,
        "added sip:bob@example.test\n",
    )
    assert user("list") == (0, "sip:alice@example.test\nsip:bob@example.test\n")
    code, told = user("list", "--json")
    assert code == 0
    assert [json.loads(line) for line in told.splitlines()] == [
        {"aor": "sip:alice@example.test"},
        {"aor": "sip:bob@example.test"},
    ]
    assert user("password", "alice") == (0, "changed the password of alice\n")
    assert user("remove", "alice") == (0, "removed alice\n")
    assert user("list") == (0, "sip:bob@example.test\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["remove", "nobody"], "there is no user sip:nobody@example.test"),
        (["password", "nobody"], "there is no user sip:nobody@example.test"),
        (["add", "x@other.test"], "this front end serves only that domain"),
        (["add", "x y"], "'x y' is not a user name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_users_that_cannot_be(
    words: list[str], told: str, frontend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["user", *words, "-c", frontend]) == 2
    assert told in capsys.readouterr().err


def test_a_password_is_never_kept_in_clear(frontend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["user", "add", "alice", "-c", frontend]) == 0
    (database,) = Path(frontend).parent.glob("*.sqlite")
    assert b"alice" in database.read_bytes()
    assert b"secret" not in database.read_bytes().replace(b"secrets", b"")
    assert capsys.readouterr().out == "added sip:alice@example.test\n"


def test_help_breaks_lines_where_the_terminal_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    assert cli.run(["lab", "grid", "--help"]) == 0
    assert "Exit code 1 if any cell took another path than the oracle expects" in capsys.readouterr().out


def test_a_phone_for_people_prints_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["phone", "--as", "alice@example.test", "--json"]) == 2
    assert "No such option: --json" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    told = capsys.readouterr().out
    for command in ("answer", "call", "demo", "edge", "explain", "frontend", "serve", "user"):
        assert f" {command} " in told
        assert cli.run([command, "--help"]) == 0


def test_what_befalls_a_call_is_told_to_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    news = (
        events.CallPathless("call.1", 10.0, "2 pairs from host to host checked, no answer"),
        events.CallInterrupted("call.1", "the other side has been silent for 3 s"),
        events.CallKeyless("call.1", "nobody answered the handshake"),
        events.CallStreams("call.1", ("audio", "slides")),
    )
    for as_json in (False, True):
        for one in news:
            _client.tell_news(_client.Teller(as_json), one)
    first, second, third, fourth, *lines = capsys.readouterr().out.splitlines()
    assert first == "no path yet after 10 s: 2 pairs from host to host checked, no answer"
    assert second == "the path is lost (the other side has been silent for 3 s); looking for another"
    assert third == "there will be no sound: nobody answered the handshake"
    assert fourth == "the call carries audio, slides"
    told = ["pathless", "interrupted", "keyless", "streams"]
    assert [json.loads(line)["event"] for line in lines] == told
    assert json.loads(lines[0])["tried"] == news[0].tried


def test_transfers_are_told_to_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    news = (
        events.TransferProgress("call.1", 180, "Ringing"),
        events.TransferFailed("call.1", 486, "Busy Here"),
        events.CallTransferred("call.1", "sip:carol@example.test"),
        events.SuccessorBegun("call.2", "call.1", "sip:carol@example.test"),
        events.SuccessorInPlace("call.2", "call.1"),
    )
    for as_json in (False, True):
        for one in news:
            _client.tell_news(_client.Teller(as_json), one)
    *words, _, _, _, _, _ = lines = capsys.readouterr().out.splitlines()
    assert words == [
        "to be transferred: 180 Ringing",
        "not transferred: 486 Busy Here",
        "they talk with sip:carol@example.test now",
        "we are to talk with sip:carol@example.test",
        "talking with them now",
    ]
    told = [json.loads(line)["event"] for line in lines[5:]]
    assert told == ["transferring", "untransferred", "transferred", "passing", "passed"]


@pytest.mark.parametrize(("no_transfer", "allowed"), [(False, True), (True, False)])
def test_whether_others_may_transfer_us(no_transfer: bool, allowed: bool) -> None:
    options = _client.ClientOptions("alice@example.test", no_transfer=no_transfer)
    client = _client.make_client(options, password="-")
    client._calls["call.1"] = LiveCall(client, "call.1", "sip:bob@example.test")
    request = TransferRequest("call.1", "sip:bob@example.test", "sip:carol@example.test", attended=False)
    assert client.phone._transfers._allows(request) is allowed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("bob", "sip:bob@example.test"),
        ("bob@elsewhere.test", "sip:bob@elsewhere.test"),
        ("sip:gateway.example.test", "sip:gateway.example.test"),
    ],
)
def test_a_name_alone_is_somebody_of_ones_own_domain(typed: str, meant: str) -> None:
    assert _client.sip_uri(typed, of="sip:alice@example.test") == meant


def test_whom_nobody_can_be_transferred_to(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["call", "bob@example.test", "--as", "alice@example.test", "--transfer", "b b"]
    assert cli.run(words) == 2
    assert "'b b' is not a SIP address" in capsys.readouterr().err


def test_keys_that_no_telephone_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["call", "bob@example.test", "--as", "alice@example.test", "--dtmf", "12x"]) == 2
    assert "--dtmf: 'X' is no key of a telephone" in capsys.readouterr().err
