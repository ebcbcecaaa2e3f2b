"""The calls with sound alone on this kernel's own NATs: every program a process, the path, the sound, DESIGN's call."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import iceway
from iceway.explain.model import PathClass
from iceway.lab.demo import SCENARIOS, Outcome, Scenario, play_on_kernel
from iceway.lab.grid.play import expectation
from iceway.lab.namespaces import available
from iceway.trace.records import (
    CallState,
    CandidateGathered,
    CredentialsMinted,
    CredentialsReceived,
    CredentialsRequested,
    Malformed,
    MediaRejected,
    MediaStarted,
    NameResolved,
    PairSelected,
    PairSucceeded,
    Registered,
    SipReceived,
    SipSent,
)
from tests.conftest import unavailable
from tests.e2e.programs import Program
from tests.e2e.story import Story, every

pytestmark = pytest.mark.kernel("nsenter")

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS if not scenario.pictures}


@pytest.fixture(scope="module", params=BY_NAME)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    allowed, reason = available()
    if not allowed:
        unavailable(f"no namespaces: {reason}; as an ordinary user: unshare -Urn make kernel")
    scenario: Scenario = BY_NAME[request.param]
    return play_on_kernel(scenario, tmp_path_factory.mktemp(scenario.name), lambda text: None)


def test_the_path_and_the_sound(outcome: Outcome) -> None:
    assert outcome.ok, outcome.faults
    assert [end.path for end in outcome.ends] == [outcome.scenario.expected] * 2
    assert all(end.agreed for end in outcome.ends)
    assert min(one.share for one in outcome.heard.values()) >= 0.95


def test_nothing_goes_wrong_on_the_way(outcome: Outcome) -> None:
    for kind in (Malformed, MediaRejected):
        assert not every(outcome.entries, kind)


def test_the_addresses_are_those_of_the_networks(outcome: Outcome) -> None:
    """What the two ends found out about their networks is what the topology says."""
    topology = outcome.scenario.topology()
    for who in ("alice", "bob"):
        found = [record.candidate for record in every(outcome.entries, CandidateGathered, who)]
        hosts = {one.address.ip for one in found if one.type == "host"}
        assert hosts == set(topology.host(who).ips)
        relays = {one.address.ip for one in found if one.type == "relay"}
        assert relays == set(topology.host("edge").ips[:1])
    bobs = [record.candidate for record in every(outcome.entries, CandidateGathered, "bob")]
    without_udp = outcome.scenario.expected is PathClass.RELAY_TCP
    assert {one.relay_transport for one in bobs if one.type == "relay"} == (
        {"tcp"} if without_udp else {"udp", "tcp"}
    )


def test_the_round_trip_is_that_of_the_network(outcome: Outcome) -> None:
    """The delays of the links between the two, and what a busy machine puts on top."""
    whole = expectation(outcome.scenario.topology()).round_trip
    assert whole is not None
    for end in outcome.ends:
        assert end.round_trip is not None
        assert whole <= end.round_trip < whole + 0.2
    assert outcome.ends[0].answer_to_media == 0.0, "Bob's sound reached Alice before his answer did"


# --- DESIGN §1, step by step, from the records of four processes --------------------------------------
def test_locate_register_and_credentials(outcome: Outcome) -> None:
    outside = outcome.scenario.name != "one-lan"
    for who, through_edge in (("alice", outside), ("bob", False)):
        service = "_sip._tls" if through_edge else "_sipinternaltls._tcp"
        story = Story(outcome.entries).then(
            who, NameResolved, name=f"^{service}", answers=lambda held: len(held) > 0
        )
        story.then(who, SipSent, start="REGISTER sip:example.test")
        if through_edge:
            story.then("edge", SipReceived, start="REGISTER")
            story.then("edge", SipSent, start="REGISTER", says="^Path: <sip:.*ob>")
        story.then("frontend", SipSent, start="SIP/2.0 401")
        story.then(who, SipSent, start="REGISTER", says="^Authorization: Digest")
        story.then("frontend", Registered, aor=who, outside=through_edge)
        story.then(who, SipReceived, start="SIP/2.0 200", says="Relay-Service").then(who, Registered)

        location = "internet" if through_edge else "intranet"
        story.then(who, CredentialsRequested, identity=f"sip:{who}@", location=location)
        story.then(who, SipSent, start="SERVICE", says=f"<location>{location}")
        story.then("frontend", SipSent, start="SERVICE", says=f"sip:{who}@example.test")
        story.then("edge", CredentialsMinted).then("frontend", SipReceived, start="SIP/2.0 200")
        story.then(who, CredentialsReceived, host="av.example.test", udp_port=3478, tcp_port=3478)


def test_offer_early_answer_checks_and_early_sound(outcome: Outcome) -> None:
    story = Story(outcome.entries).then("alice", CandidateGathered)
    story.then("alice", SipSent, start="INVITE sip:bob@", says=("typ host", "typ relay", "^a=ice-ufrag"))
    story.then("bob", SipReceived, start="INVITE", says="a=candidate")
    bobs = story.meanwhile()
    story.then("bob", SipSent, start="SIP/2.0 183", says=("^Require: .*100rel", "a=candidate"))
    story.then("alice", SipReceived, start="SIP/2.0 183", says="a=candidate")
    alices = story.meanwhile()
    story.then("alice", SipSent, start="PRACK").then("bob", SipReceived, start="PRACK")
    story.then("bob", SipSent, start="SIP/2.0 200", cseq="PRACK")
    for who, checks in (("alice", alices), ("bob", bobs)):
        checks.meanwhile().then(who, PairSucceeded).then(who, PairSelected)
    # Bob's side may find the path first; his sound then meets Alice's own checks on the way.
    bobs.then("bob", MediaStarted, direction="sent", early=True)
    bobs.then("alice", MediaStarted, direction="received", early=True)
    bobs.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")


def test_pick_up_settle_and_the_end(outcome: Outcome) -> None:
    story = Story(outcome.entries).then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")
    story.then("alice", SipReceived, start="SIP/2.0 200", cseq="INVITE").then("alice", SipSent, start="ACK")
    story.then("alice", CallState, state="confirmed")
    offer = story.then("alice", SipSent, start="INVITE", says=r"^a=remote-candidates:1 \S+ \d+").record
    assert isinstance(offer, SipSent)
    story.then("bob", SipReceived, start="INVITE", says="a=remote-candidates")
    story.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE", says="^a=candidate")
    story.then("alice", SipReceived, start="SIP/2.0 200", cseq="INVITE")
    story.then("alice", CallState, state="settled")
    remote = outcome.ends[0].remote
    assert remote is not None
    assert f"a=remote-candidates:1 {remote.address.ip} {remote.address.port}" in offer.text
    story.then("alice", SipSent, start="BYE").then("bob", SipReceived, start="BYE")
    story.then("bob", SipSent, start="SIP/2.0 200", cseq="BYE")
    story.then("alice", SipReceived, start="SIP/2.0 200", cseq="BYE")


# --- ended before its time --------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_ended_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    demo = Program("demo", ["demo", "--where", "kernel", "--only", "one-lan"], tmp_path)
    try:
        demo.prints("Bob registers")
        assert programs_in(tmp_path / "demo-out"), "edge and front end are running"
        assert demo.interrupted(number) == 130
        assert programs_in(tmp_path / "demo-out") == []
        assert demo.errors == ""
    finally:
        if demo.process.poll() is None:
            demo.killed()


def programs_in(directory: Path) -> list[str]:
    """The command lines of processes that work in or below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").resolve().is_relative_to(directory):
                found.append((process / "cmdline").read_text())
    return found


# --- without rights ---------------------------------------------------------------------------------------
def test_an_ordinary_user_plays_a_call(tmp_path: Path) -> None:
    """In a user namespace, on the same kernel: `iceway demo` gets there by itself."""
    become: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            unavailable("setpriv missing: apt-get install util-linux")
        become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        os.chown(tmp_path, 65534, 65534)
        for directory in (tmp_path.parent, tmp_path.parent.parent):
            directory.chmod(0o711)  # pytest's own, and closed to others
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    def plays(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*become, python, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
        )

    python = sys.executable
    if plays("sh", "-c", f"test -x {python}").returncode != 0:
        # The interpreter is in somebody's home: the system's does as well, with the same packages.
        python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
        source = Path(iceway.__file__).parent.parent
        environment["PYTHONPATH"] = os.pathsep.join([str(source), sysconfig.get_path("purelib")])
        if not Path(python).exists() or (tried := plays(python, "-c", "import iceway, numpy, av")).returncode:
            reason = tried.stderr.strip() if Path(python).exists() else f"there is no {python}"
            unavailable(f"no Python that an ordinary user may run: {reason}")
    if (tried := plays("unshare", "-Urn", "true")).returncode:
        unavailable(f"no user namespaces for ordinary users: {tried.stderr.strip()}")
    played = plays(python, "-m", "iceway", "demo", "--where", "kernel", "--only", "reflexive", "--json")
    assert played.returncode == 0, played.stdout + played.stderr
    assert '"networks": "kernel"' in played.stdout
    assert f'"path": "{PathClass.REFLEXIVE.value}"' in played.stdout
