// The page: what people press becomes commands to the line and its call; what these tell becomes visible.

import { Line } from "/line.js";
import { report } from "/report.js";
import { hush, ring, wake } from "/ring.js";
import { clock, deviceTrouble, ended, initials } from "/words.js";

const find = (id) => document.getElementById(id);
const SECOND = 1000;
const KEYS = { m: "mute", v: "video", s: "share", h: "hold", k: "keys", e: "hang-up" };
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const SILENCE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

let settings = null;
let line = null;
let call = null;
let ringing = null;
let reported = null;
let ticking = null;
const recent = [];

// --- signing in -----------------------------------------------------------------------------------------
async function begin() {
  settings = await (await fetch("/settings.json")).json();
  find("address").placeholder = `name@${settings.domain}`;
  find("address").value = sessionStorage.getItem("address") ?? "";
  find(find("address").value ? "password" : "address").focus();
  for (const digit of DIGITS) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = digit;
    button.addEventListener("click", () => press(digit));
    find("keypad").append(button);
  }
}

function signIn(event) {
  event.preventDefault();
  wake();
  const typed = find("address").value.trim().replace(/^sips?:/i, "");
  const address = typed.includes("@") ? typed : `${typed}@${settings.domain}`;
  if (!/^[^\s@]+@[^\s@]+$/.test(address)) {
    refuse("This is no address; it looks like name@example.org.");
    return;
  }
  show("sign-in-trouble", false);
  busy(true);
  line = new Line({ address, password: find("password").value, settings });
  line.addEventListener("registered", signedIn);
  line.addEventListener("refused", (told) => refuse(told.detail));
  line.addEventListener("lost", (told) => lost(told.detail));
  line.addEventListener("relays", (told) => relays(told.detail));
  line.addEventListener("rings", (told) => rings(told.detail));
  line.addEventListener("moves", (told) => enter(told.detail));
  line.addEventListener("missed", (told) => remember(told.detail, "missed, you were in a call"));
  line.start();
}

function signedIn() {
  busy(false);
  find("password").value = "";
  sessionStorage.setItem("address", line.address);
  find("own-name").textContent = line.address;
  state("ready", "ready");
  if (!find("sign-in").hidden) {
    show("sign-in", false);
    show("phone", true);
    find("peer").focus();
  }
}

function refuse(why) {
  if (find("sign-in").hidden) {
    state("lost", why);
    return;
  }
  signOut();
  find("sign-in-trouble").textContent = why;
  show("sign-in-trouble", true);
  find("password").focus();
}

function lost(why) {
  if (!find("sign-in").hidden) refuse("The server does not answer. Is this computer online?");
  else state("lost", `${why}, trying again`);
}

function signOut() {
  call?.hangUp();
  line?.stop();
  line = null;
  busy(false);
  show("phone", false);
  show("sign-in", true);
}

function busy(yes) {
  find("sign-in-button").disabled = yes;
  find("sign-in-button").textContent = yes ? "Signing in…" : "Sign in";
}

function state(is, words) {
  find("line-state").dataset.is = is;
  find("line-state").textContent = words;
}

function relays(trouble) {
  notice(trouble && `Calls may not get through firewalls: no relay, since ${trouble}.`);
}

// --- calls ----------------------------------------------------------------------------------------------
async function dial(event) {
  event.preventDefault();
  wake();
  const peer = find("peer").value;
  if (call || !peer.trim()) return;
  await place(peer, event.submitter?.value === "video");
}

async function place(peer, video) {
  notice(null);
  const stream = await microphone(video);
  if (!stream || call || !line) return;
  try {
    enter(line.call(peer, stream));
  } catch {
    stream.getTracks().forEach((track) => track.stop());
    notice(`“${peer.trim()}” is no address to call.`);
  }
}

function rings(incoming) {
  ringing = incoming;
  find("ringing-peer").textContent = incoming.name;
  find("ringing-face").textContent = initials(incoming.name);
  find("ringing-what").textContent = `${incoming.peer} calls${incoming.offersVideo ? ", with video" : ""}`;
  show("answer-video", incoming.offersVideo);
  find("ringing").showModal();
  find("answer").focus();
  ring("incoming");
  incoming.addEventListener("over", (over) => {
    if (ringing !== incoming) return;
    silent();
    remember(incoming, /elsewhere/.test(ended(over.detail, false)) ? "answered elsewhere" : "missed");
  });
}

async function answer(video) {
  const incoming = ringing;
  wake();
  const stream = await microphone(video);
  if (!stream || ringing !== incoming) return;
  silent();
  enter(incoming);
  line.answer(incoming, stream);
}

function decline() {
  const declined = ringing;
  if (!declined) return;
  silent();
  remember(declined, "declined");
  declined.decline(603);
}

function silent() {
  ringing = null;
  hush();
  find("ringing").close();
}

/** Show a call: a new one, or the one before when somebody sent us on in vain. */
function enter(entered) {
  if (!entered.shown) follow(entered);
  clearInterval(ticking);
  call = entered;
  reported = null;
  find("call-peer").textContent = call.name;
  find("level-peer-name").textContent = call.name;
  find("face").textContent = initials(call.name);
  if (!call.established) find("call-state").textContent = call.incoming ? "connecting" : "calling";
  find("remote-caption").textContent = call.name;
  show("dial", false);
  show("call", true);
  show("keypad", false);
  show("help", true);
  ticking = setInterval(tick, 250);
  draw();
  tick();
}

function follow(entered) {
  entered.shown = true;
  entered.addEventListener("rings", () => {
    if (call !== entered) return;
    find("call-state").textContent = "rings";
    if (!call.theirs("audio")) ring("outgoing");
  });
  entered.addEventListener("up", () => {
    if (call !== entered) return;
    hush();
    find("mute").focus();
    draw();
  });
  entered.addEventListener("changed", draw);
  entered.addEventListener("over", (over) => leave(entered, over.detail));
}

function leave(left, end) {
  const words = ended(end, left.established);
  const lasted = left.began === null ? null : (performance.now() - left.began) / SECOND;
  remember(left, lasted === null ? words.replace(/\.$/, "") || "called off" : `talked ${clock(lasted)}`);
  if (call !== left) return;
  notice(words || null);
  hush();
  for (const screen of document.querySelectorAll("video, audio")) screen.srcObject = null;
  if (!left.established && line?.calls.has(left.after)) {
    enter(left.after);
    return;
  }
  clearInterval(ticking);
  call = null;
  show("call", false);
  show("dial", true);
  show("help", false);
  find("peer").focus();
}

// --- in a call ------------------------------------------------------------------------------------------
const COMMANDS = {
  mute: () => call.mute(!call.muted),
  hold: () => call.hold(!call.held.local),
  video: () => toggle("video", "camera", () => navigator.mediaDevices.getUserMedia({ video: PICTURE })),
  share: () => toggle("slides", "screen", () => navigator.mediaDevices.getDisplayMedia({ video: SCREEN, audio: false })),
  keys: () => {
    show("keypad", find("keypad").hidden);
    draw();
  },
  "hang-up": () => call.hangUp(),
};
const PICTURE = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 25, max: 30 } };
const SCREEN = { width: { max: 1920 }, height: { max: 1080 }, frameRate: { ideal: 10, max: 15 } };

async function command(name) {
  if (!call || find(name).disabled) return;
  notice(null);
  const running = COMMANDS[name]();
  draw();
  await running;
  draw();
}

async function toggle(kind, what, get) {
  const current = call;
  if (current.own(kind)) {
    await current.drop(kind);
    return;
  }
  let stream;
  try {
    stream = await get();
  } catch (error) {
    // A screen is chosen in a window of the browser's, which may be closed again.
    if (what !== "screen" || error.name !== "NotAllowedError") notice(deviceTrouble(error, what));
    return;
  }
  const [track] = stream.getVideoTracks();
  if (call !== current) {
    track.stop();
    return;
  }
  if (kind === "slides") track.contentHint = "detail";
  track.addEventListener("ended", () => current.own(kind) === track && current.drop(kind));
  if (!(await current.add(kind, track)) && call === current) notice(`The phone of ${current.name} takes no ${kind === "slides" ? "shared screen" : "video"}.`);
}

async function microphone(video) {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: SILENCE, video: video ? PICTURE : false });
  } catch (error) {
    notice(deviceTrouble(error, video ? "microphone or camera" : "microphone"));
    if (ringing) find("ringing-what").textContent = deviceTrouble(error, video ? "microphone or camera" : "microphone");
    return null;
  }
}

function press(digit) {
  if (call?.established) call.press(digit);
}

// --- what is seen ---------------------------------------------------------------------------------------
function draw() {
  if (!call) return;
  const { local, remote } = call.held;
  pressed("mute", call.muted, call.muted ? "Unmute" : "Mute");
  pressed("hold", local, local ? "Resume" : "Hold");
  pressed("video", Boolean(call.own("video")), call.own("video") ? "Stop video" : "Video");
  pressed("share", Boolean(call.own("slides")), call.own("slides") ? "Stop sharing" : "Share");
  find("keys").setAttribute("aria-expanded", String(!find("keypad").hidden));
  for (const name of ["hold", "video", "share", "keys"]) find(name).disabled = !call.established;
  find("share").hidden = !navigator.mediaDevices.getDisplayMedia;
  find("level-own").classList.toggle("off", call.muted || local);
  screen("voice", call.theirs("audio"));
  const shown = {
    slides: screen("remote-slides", call.theirs("slides")),
    video: screen("remote-video", call.theirs("video")),
    self: screen("own-video", call.own("video")),
    "own-slides": screen("own-slides", call.own("slides")),
  };
  shown.face = !shown.slides && !shown.video;
  const first = shown.slides ? "slides" : shown.video ? "video" : "face";
  let at = 0;
  for (const [name, visible] of Object.entries(shown)) {
    const tile = find(`tile-${name}`);
    tile.hidden = !visible;
    tile.classList.toggle("small", visible && name !== first);
    if (visible && name !== first) tile.style.setProperty("--at", at++);
  }
  find("stage").classList.toggle("beside", at > 0);
  if (call.established) find("call-state").dataset.held = local ? "on hold" : remote ? "they hold the call" : "";
}

function screen(id, track) {
  const element = find(id);
  if ((element.srcObject?.getTracks()[0] ?? null) !== track) element.srcObject = track && new MediaStream([track]);
  return Boolean(track);
}

async function tick() {
  const current = call;
  if (!current?.connection || current.connection.signalingState === "closed") return;
  if (current.established) {
    const { held } = find("call-state").dataset;
    find("call-state").textContent = [clock((performance.now() - current.began) / SECOND), held].filter(Boolean).join(", ");
  }
  const now = await report(current.connection, reported?.counts);
  if (call !== current) return;
  level("own", current.muted ? 0 : now.own);
  level("peer", now.peer);
  find("face").style.setProperty("--level", now.peer.toFixed(2));
  current.relayed = now.path.startsWith("relayed via edge");
  find("path").textContent = now.path;
  if (!reported || performance.now() - reported.at > 2 * SECOND) {
    find("quality").textContent = now.quality;
    reported = { at: performance.now(), counts: { lost: now.lost, received: now.received } };
  }
}

function level(who, value) {
  const meter = find(`level-${who}`);
  meter.style.setProperty("--level", value.toFixed(2));
  meter.setAttribute("aria-valuenow", String(Math.round(value * 100)));
}

function pressed(id, yes, words) {
  find(id).setAttribute("aria-pressed", String(yes));
  find(id).lastElementChild.textContent = words;
}

function notice(words) {
  find("notice").textContent = words ?? "";
  show("notice", Boolean(words));
}

function show(id, yes) {
  find(id).hidden = !yes;
}

function remember(about, what) {
  recent.unshift({ about, what, at: new Date() });
  recent.splice(20);
  show("recent-none", false);
  find("recent").replaceChildren(
    ...recent.map(({ about, what, at }) => {
      const [row, button, name, words, time] = ["li", "button", "strong", "span", "time"].map((tag) =>
        document.createElement(tag),
      );
      button.type = "button";
      name.textContent = about.name;
      const then = /^\p{Lu}/u.test(what) ? ":" : ","; // a whole sentence, or the rest of this one
      words.textContent = `${about.incoming ? "called you" : "you called"}${then} ${what}`;
      time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      time.dateTime = at.toISOString();
      button.title = `Call ${about.peer}`;
      button.append(name, words, time);
      button.addEventListener("click", () => {
        find("peer").value = about.peer;
        find("call-audio").focus();
      });
      row.append(button);
      return row;
    }),
  );
}

// --- hands ----------------------------------------------------------------------------------------------
find("sign-in-form").addEventListener("submit", signIn);
find("dial-form").addEventListener("submit", dial);
find("sign-out").addEventListener("click", signOut);
find("answer").addEventListener("click", () => answer(false));
find("answer-video").addEventListener("click", () => answer(true));
find("decline").addEventListener("click", decline);
find("ringing").addEventListener("cancel", (event) => {
  event.preventDefault();
  decline();
});
for (const name of Object.keys(COMMANDS)) find(name).addEventListener("click", () => command(name));
document.addEventListener("keydown", (event) => {
  if (!call || ringing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("input:not([type=checkbox]), dialog *") || !find("shortcuts").checked) return;
  if (KEYS[event.key.toLowerCase()]) command(KEYS[event.key.toLowerCase()]);
  else if (DIGITS.includes(event.key) && !find("keypad").hidden) press(event.key);
});
addEventListener("pagehide", () => {
  call?.hangUp();
  line?.stop();
});

begin();
