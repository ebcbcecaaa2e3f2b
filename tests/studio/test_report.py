"""The report: what is in it, what must never get out of it, and that a browser runs it."""

from __future__ import annotations

import base64
import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iceway.core.errors import EnvironmentFailure
from iceway.lab.topologies import named
from iceway.lab.watching import jpeg
from iceway.media.pattern import numbered
from iceway.studio import report, rows
from iceway.studio.model import call_model
from iceway.studio.picture import from_topology
from iceway.studio.report import CallReport, ContactSheet, embed, report_html, write_report
from iceway.trace.entry import Entry
from iceway.trace.records import Note, SipReceived, SipSent
from tests.explain.call_story import NETWORKS, told
from tests.explain.test_quality import heard

EVIL = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \u2028 & ]]>"


def office_call(network: str) -> CallReport:
    return CallReport(f"<{network}>", told(network), from_topology(named(network)))


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes, as a browser would find them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


# --- safety ---------------------------------------------------------------------------------------------
def hostile(entries: list[Entry]) -> list[Entry]:
    """The call as a stranger would like to have it recorded."""
    changed = []
    for entry in entries:
        record = entry.record
        if isinstance(record, SipSent | SipReceived):
            record = replace(record, text=record.text + EVIL, start_line=record.start_line + EVIL)
        changed.append(entry._replace(record=record))
    return [*changed, Entry(9999, 11.0, EVIL, Note("error", EVIL))]


def test_hostile_text_opens_no_tag() -> None:
    harmless = [tag for tag, _ in tags(report_html([office_call("reflexive")]))]
    page = report_html([CallReport(EVIL, hostile(told("reflexive")), lead=EVIL)], title=EVIL)
    assert [tag for tag, _ in tags(page)] == harmless
    assert "<img" not in page
    assert "<!--" not in page
    assert embedded(page)["title"] == EVIL  # and yet nothing is lost


def test_embedded_json_survives_and_is_inert() -> None:
    text = embed({"a": EVIL, "b": "\ud800 lone", "c": [1, None, "ü"]})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": EVIL, "b": "? lone", "c": [1, None, "ü"]}
    text.encode("utf-8")


def test_nothing_is_loaded_from_anywhere() -> None:
    page = report_html([office_call("reflexive")])
    for tag, attributes in tags(page):
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "href"} & set(attributes) or attributes.get("href", "").startswith("#")  # type: ignore[union-attr]
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page
    assert "@import" not in page


def test_the_policy_names_the_one_script_and_style() -> None:
    page = report_html([office_call("one_lan")])
    policy = next(a["content"] for tag, a in tags(page) if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert (len(scripts), len(styles)) == (1, 1)
    assert f"script-src '{report._hash(scripts[0])}'" in policy
    assert f"style-src '{report._hash(styles[0])}'" in policy


def test_the_script_puts_text_in_as_text() -> None:
    script = report._asset("page.js")
    for danger in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
        "XMLHttp",
    ):
        assert danger not in script


# --- content --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("network", NETWORKS)
def test_a_call_as_the_page_gets_it(network: str) -> None:
    call = call_model(office_call(network))
    names = {node["id"] for node in call["picture"]["nodes"]}
    assert call["lanes"] == ["alice", "edge", "frontend", "bob"]
    for step in call["steps"]:
        assert step["p"]
        assert step["f"] in names | {"demo"}
        if "r" in step:
            assert set(step["r"]) <= names
            assert (step["r"][0], step["r"][-1]) == (step["f"], step["o"])
            assert {tag["at"] for tag in step.get("tags", [])} <= set(step["r"])
    assert [s["t"] for s in call["steps"]] == sorted(s["t"] for s in call["steps"])
    assert call["media"][0] == "alice"
    assert call["media"][-1] == "bob"
    assert ("edge" in call["media"]) == network.startswith("relayed")
    assert any(candidate["chosen"] for candidate in call["sides"][0]["candidates"])
    assert any(pair["outcome"] == "chosen" for pair in call["pairs"])
    assert {s["label"] for s in call["stats"]} >= {
        "Path",
        "Round trip",
        "Answer to first sound",
        "Bob heard alice",
    }


def test_how_good_each_stream_was_is_told() -> None:
    call = call_model(CallReport("call", heard(), from_topology(named("reflexive"))))
    (sound,) = [one for one in call["stats"] if one["label"] == "Sound at Bob"]
    assert sound["value"] == "excellent (MOS 4.4)"
    assert "120 ms from mouth to ear" in sound["note"]


def test_nats_rewrite_what_the_packet_says() -> None:
    call = call_model(office_call("relayed_udp"))
    check = next(
        s for s in call["steps"] if s["n"] == "check" and s["f"] == "alice" and s.get("lostAt") == "hq-nat"
    )
    assert check["tags"] == [
        {"at": "alice", "from": "192.168.1.20:50000", "to": "198.51.100.1:50100"},
        {"at": "home-nat", "from": "198.51.100.77:52345", "to": "198.51.100.1:50100"},
    ]
    assert check["why"] == "filtered"


def test_answers_are_rewritten_on_the_way_in() -> None:
    call = call_model(office_call("reflexive"))
    answer = next(s for s in call["steps"] if s["n"] == "401 Unauthorized" and s["o"] == "alice")
    assert answer["tags"][-1] == {"at": "home-nat", "from": "198.51.100.2:443", "to": "192.168.1.20:40512"}


def test_relayed_packets_travel_inside_one_to_the_relay() -> None:
    call = call_model(office_call("relayed_udp"))
    nomination = next(s for s in call["steps"] if s["n"] == "use this way")
    assert nomination["v"] == "edge"
    assert [tag["at"] for tag in nomination["tags"]] == ["alice", "home-nat", "edge", "hq-nat"]
    assert nomination["tags"][-1]["to"] == "10.0.0.20:50100"


def test_retransmissions_fold_into_one_step() -> None:
    steps = call_model(office_call("relayed_udp"))["steps"]
    lost = [s for s in steps if s.get("lost")]
    assert lost
    assert all(s["times"] >= 2 for s in lost if s["k"] == "check")
    assert len({(s["f"], str(s["tags"])) for s in lost}) == len(lost)


def test_findings_lead_to_their_steps() -> None:
    call = call_model(office_call("relayed_tcp"))
    finding = next(f for f in call["findings"] if "blocks UDP" in f["title"])
    assert finding["steps"]
    assert all(0 <= place < len(call["steps"]) for place in finding["steps"])


def test_the_real_messages_are_there_without_their_secrets() -> None:
    page = report_html([office_call("reflexive")])
    steps = embedded(page)["calls"][0]["steps"]
    invite = next(s for s in steps if s["n"] == "INVITE")
    assert invite["d"]["sip"].startswith("INVITE sip:bob@example.test SIP/2.0\r\n")
    check = next(s for s in steps if s["n"] == "check")
    assert ["PRIORITY", "1862270975"] in check["d"]["attrs"]
    assert check["d"]["hex"].startswith("0001")


def test_big_traces_stay_a_manageable_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RAW_BUDGET", 5_000)
    monkeypatch.setattr(rows, "MAX_TEXT", 300)
    steps = call_model(office_call("reflexive"))["steps"]
    assert sum("cut" in s["d"] for s in steps) > 50
    assert max(len(s["d"].get("sip", "")) for s in steps) < 320
    monkeypatch.setattr(rows, "MAX_STEPS", 40)
    assert len(call_model(office_call("reflexive"))["steps"]) == 40


def test_pictures_that_were_seen_are_carried_along() -> None:
    sheet = ContactSheet("What Bob saw", EVIL, [(b"\xff\xd8 one", "picture 1"), (b"\xff\xd8 two", EVIL)])
    page = report_html([replace(office_call("one_lan"), sheets=[sheet])])
    assert "<img" not in page, "the script makes them, of data that was escaped"
    (shown,) = embedded(page)["calls"][0]["sheets"]
    assert [one["words"] for one in shown["pictures"]] == ["picture 1", EVIL]
    kind, _, data = shown["pictures"][0]["src"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(data) == b"\xff\xd8 one"
    policy = next(a["content"] for tag, a in tags(page) if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.endswith("img-src data:"), "from nowhere else"


def test_an_empty_trace_makes_a_page_too() -> None:
    call = embedded(report_html([CallReport("nothing", [])]))["calls"][0]
    assert call["steps"] == []
    assert call["path"] == "none"


def test_the_same_trace_gives_the_same_page() -> None:
    assert report_html([office_call("reflexive")]) == report_html([office_call("reflexive")])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", [])


# --- a browser ------------------------------------------------------------------------------------------
WALK = """
(async () => { try {
  let shown = 0;
  let pictures = 0;
  const crowded = () => {
    const bar = $("chapters").getBoundingClientRect();
    const shown = [...document.querySelectorAll(".chapters span")]
      .filter((label) => getComputedStyle(label).visibility === "visible").map((label) => label.getBoundingClientRect());
    return shown.some((one) => one.left < bar.left - 1 || one.right > bar.right + 1
      || shown.some((other) => other !== one && one.left < other.right && other.left < one.right));
  };
  for (let c = 0; c < DATA.calls.length; c += 1) {
    choose(c);
    toggleLook(true);
    for (let s = 0; s < steps().length; s += 1) {
      go(s, s % 2 === 0);
      shown += $("caption").textContent && !crowded() ? 1 : 0;
    }
    for (const button of $("filters").children) { button.click(); button.click(); }
    for (const image of document.querySelectorAll(".sheet img")) { await image.decode(); pictures += image.naturalWidth; }
    moveChapter(-1); moveChapter(1); play(); pause(); faster(1); switchTheme(); toggleHelp();
    for (const button of document.querySelectorAll(".jump")) button.click();
  }
  document.title = `walked ${shown}, ${pictures} wide`;
} catch (error) {
  document.title = `broke: ${error}`;
} })();
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("size", ["1400,900", "390,844"])
def test_a_browser_walks_through_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    real = report._asset
    monkeypatch.setattr(report, "_asset", lambda name: real(name) + (WALK if name == "page.js" else ""))
    calls = [office_call(network) for network in NETWORKS]
    sheet = ContactSheet("What Bob saw", "", [(jpeg(numbered(7)), "picture 7")])
    calls[0] = replace(calls[0], sheets=[sheet])
    calls += [CallReport(EVIL, hostile(told("reflexive")), lead=EVIL), CallReport("nothing", [])]
    page = write_report(tmp_path / "report.html", calls)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               f"--window-size={size}", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]  # fmt: skip
    try:
        dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False).stdout
    except subprocess.TimeoutExpired:
        pytest.skip("the browser took too long on this machine")
    title = re.search(r"<title>(.*?)</title>", dom)
    steps = sum(len(call["steps"]) for call in embedded(page.read_text(encoding="utf-8"))["calls"])
    assert title is not None
    assert title[1] == f"walked {steps}, 320 wide"
