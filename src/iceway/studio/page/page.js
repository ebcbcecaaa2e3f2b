"use strict";
/* The report's page. Everything it shows is text from DATA, put in with textContent only: records hold what
   strangers sent. The state is one call and one step; everything visible follows from these two. */

const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const KINDS = { sip: "Calls (SIP)", stun: "Addresses and relay", check: "Trying paths", media: "Sound, pictures", note: "Other" };
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

const state = { call: 0, step: 0, playing: false, speed: 1, hidden: new Set(), look: false };
let map = null;
let timer = 0;
let frame = 0;

/* --- small things ------------------------------------------------------------------------------------- */
function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, action] of Object.entries(value)) node.addEventListener(event, action);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const call = () => DATA.calls[state.call];
const steps = () => call().steps;
const current = () => steps()[state.step];
const visible = (step) => !state.hidden.has(KINDS[step.k] ? step.k : "note");
const kindOf = (step) => (step.lost ? "lost" : `kind-${KINDS[step.k] ? step.k : "note"}`);
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
function clock(seconds) {
  const start = steps().length ? steps()[0].t : 0;
  return `${(seconds - start).toFixed(3)} s`;
}
/* Addresses in a sentence get a typewriter face. */
function withCode(text) {
  const parts = text.split(/((?:\d{1,3}\.){3}\d{1,3}(?::\d+)?|\[[0-9a-f:]+\]:\d+)/i);
  return parts.map((part, place) => (place % 2 ? el("code", {}, part) : part));
}

/* --- the map ------------------------------------------------------------------------------------------ */
const GATES = new Set(["segment", "nat", "router", "firewall"]);
const ICONS = {
  edge: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM7.5 12h9M13.5 9l3 3-3 3",
  frontend: "M5 4h14v6H5zM5 14h14v6H5zM8 7h.01M8 17h.01M12 7h4M12 17h4",
  nat: "M4 9h13M13 5l4 4-4 4M20 15H7M11 11l-4 4 4 4",
  firewall: "M4 5h16v14H4zM4 9.7h16M4 14.3h16M9 5v4.7M15 5v4.7M12 9.7v4.6M9 14.3V19M15 14.3V19",
  router: "M12 4v16M4 12h16M9 7l3-3 3 3M9 17l3 3 3-3M7 9l-3 3 3 3M17 9l3 3-3 3",
  nameserver: "M6 4h10a2 2 0 012 2v14H8a2 2 0 01-2-2zM6 18a2 2 0 012-2h10M9.5 8h5M9.5 11h5",
  host: "M4 5h16v11H4zM9 20h6M12 16v4",
};

class Map_ {
  constructor(root, picture, names) {
    this.root = root;
    this.picture = picture;
    this.names = names;
    this.tall = root.parentElement.clientWidth < 620;
    this.places = {};
    this.nodes = {};
    this.bends = {};
    this.draw();
  }

  /* `along` and `across` run from 0 to 1; a narrow page stands the picture on its head's side. */
  point(along, across) {
    return this.tall
      ? { x: 68 + across * 424, y: 14 + along * 792 }
      : { x: 14 + along * 972, y: 62 + across * 390 };
  }

  draw() {
    const [width, height] = this.tall ? [560, 820] : [1000, 500];
    const root = this.root;
    root.replaceChildren();
    root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const area of this.picture.areas) {
      const from = this.point(area.b, 0);
      const to = this.point(area.e, 1);
      const box = this.tall
        ? { x: 10, y: from.y, width: width - 20, height: to.y - from.y }
        : { x: from.x, y: 8, width: to.x - from.x, height: height - 16 };
      const net = area.label === "Internet";
      root.append(
        svg("rect", { class: net ? "m-area net" : "m-area", rx: 20, ...box }),
        svg("text", { class: net ? "m-area-label net" : "m-area-label", x: box.x + 16, y: box.y + 26 }, area.label),
      );
    }
    for (const node of this.picture.nodes) this.places[node.id] = this.point(node.x, node.y);
    for (const [from, to] of this.picture.links) {
      const a = this.places[from];
      const b = this.places[to];
      if (!a || !b) continue;
      const bend = this.bend(from, to);
      if (bend) this.bends[`${from} ${to}`] = this.bends[`${to} ${from}`] = bend;
      root.append(svg("path", { class: "m-link", d: Map_.path(bend ? [a, bend, b] : [a, b]) }));
    }
    this.bed = root.appendChild(svg("path", { class: "m-flow-bed" }));
    this.flow = root.appendChild(svg("path", { class: "m-flow" }));
    this.flowBack = root.appendChild(svg("path", { class: "m-flow back" }));
    this.route = root.appendChild(svg("path", { class: "m-route" }));
    for (const node of this.picture.nodes) root.append(this.drawNode(node));
    this.over = root.appendChild(svg("g"));
  }

  drawNode(node) {
    const { x, y } = this.places[node.id];
    const group = svg("g", { class: `m-node m-${node.kind}${node.area === "internet" ? " in-net" : GATES.has(node.kind) ? "" : " in-area"}`, transform: `translate(${x} ${y})` });
    this.nodes[node.id] = group;
    if (node.kind === "segment") {
      group.append(svg("circle", { class: "m-hub", r: 6 }));
      return group;
    }
    if (node.kind === "client") {
      group.append(
        svg("circle", { class: "m-tile", r: 33 }),
        svg("circle", { class: "m-icon", cx: 0, cy: -8, r: 8.5 }),
        svg("path", { class: "m-icon", d: "M-16 17c1-10 8-13 16-13s15 3 16 13" }),
        ...(this.tall
          ? [svg("text", { class: "m-name m-side", x: 42, y: 2 }, node.name), svg("text", { class: "m-ip m-side", x: 42, y: 20 }, node.ips[0] || "")]
          : [svg("text", { class: "m-name", y: 54 }, node.name), svg("text", { class: "m-ip", y: 71 }, node.ips[0] || "")]),
      );
    } else if (node.kind === "nat" || node.kind === "router" || node.kind === "firewall") {
      const outer = node.ips.length ? node.ips[node.ips.length - 1] : "";
      group.append(
        this.tall
          ? svg("rect", { class: "m-tile", x: -31, y: -20, width: 62, height: 40, rx: 13 })
          : svg("rect", { class: "m-tile", x: -22, y: -31, width: 44, height: 62, rx: 13 }),
        svg("path", { class: "m-icon", transform: "translate(-12 -12)", d: ICONS[node.kind] }),
      );
      const lines = [["m-name", node.name], ["m-ip", outer], ["m-note", node.note]].filter(([, text]) => text);
      if (this.tall) {
        lines.forEach(([css, text], row) =>
          group.append(svg("text", { class: `${css} m-side`, x: 40, y: (row - lines.length / 2) * 18 + 14 }, text)));
      } else {
        lines.forEach(([css, text], row) => group.append(svg("text", { class: css, y: 50 + row * 17 }, text)));
      }
    } else {
      group.append(
        svg("rect", { class: "m-tile", x: -30, y: -30, width: 60, height: 60, rx: 16 }),
        svg("path", { class: "m-icon", transform: "translate(-18 -18) scale(1.5)", d: ICONS[node.kind] || ICONS.host }),
        svg("text", { class: "m-name", y: 49 }, node.name),
        ...(this.tall ? node.ips : [node.ips.join("  ")]).map((ip, row) => svg("text", { class: "m-ip", y: 66 + row * 17 }, ip)),
      );
    }
    return group;
  }

  /* A server with a foot in another network: its link goes around the NAT in between. */
  bend(from, to) {
    const [a, b] = [from, to].map((id) => this.picture.nodes.find((node) => node.id === id));
    const foreign = !GATES.has(a.kind) && b.kind === "segment" && a.area !== b.id;
    if (!foreign) return null;
    const [near, far] = [this.places[from], this.places[to]];
    return this.tall ? { x: near.x, y: far.y } : { x: far.x, y: near.y };
  }

  /* The corners of a route, and which of them are nodes. */
  line(route) {
    const points = [];
    const at = {};
    route.forEach((name, place) => {
      const bend = place ? this.bends[`${route[place - 1]} ${name}`] : null;
      if (bend) points.push(bend);
      at[place] = points.length;
      points.push(this.places[name]);
    });
    return { points, at };
  }

  /* Packets stop beside a node, not on it. */
  static shorten(points, by) {
    const end = points[points.length - 1];
    const before = points[points.length - 2];
    const length = Math.hypot(end.x - before.x, end.y - before.y);
    const flat = Math.abs(end.x - before.x) > Math.abs(end.y - before.y);
    const share = Math.max(0.1, (length - (flat ? by : 56)) / length);
    return [...points.slice(0, -1), { x: before.x + (end.x - before.x) * share, y: before.y + (end.y - before.y) * share }];
  }

  static path(points) {
    return points.map((p, i) => `${i ? "L" : "M"}${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join("");
  }

  clear() {
    this.over.replaceChildren();
    this.route.setAttribute("d", "");
    for (const node of Object.values(this.nodes)) node.classList.remove("here", "flash");
  }

  /* Sound flows along its path in both directions, each once it has begun. */
  media(route, out, back) {
    const { points } = this.line(route.filter((name) => this.places[name]));
    const shown = points.length > 1 && (out || back);
    const path = shown ? Map_.path(points) : "";
    this.bed.setAttribute("d", path);
    this.flow.setAttribute("d", out ? path : "");
    this.flowBack.setAttribute("d", back ? path : "");
    this.flow.classList.add("on");
    this.flowBack.classList.add("on");
  }

  color(step) {
    for (const layer of [this.route, this.over]) layer.setAttribute("class", `${layer === this.route ? "m-route" : ""} ${kindOf(step)}`);
    for (const node of Object.values(this.nodes)) {
      node.classList.remove("kind-sip", "kind-stun", "kind-check", "kind-media", "kind-note", "lost");
      node.classList.add(kindOf(step));
    }
  }

  /* A packet on its way; `done` in 0…1. The tag says what the packet says about itself at that place. */
  travel(step) {
    this.clear();
    this.color(step);
    const route = step.r.filter((name) => this.places[name]);
    const whole = this.line(route);
    const half = (Math.min(step.n.length, 22) * (this.tall ? 9.6 : 8) + 24) / 2;
    const points = whole.points.length > 1 ? Map_.shorten(whole.points, 38 + half) : whole.points;
    const lengths = points.map((p, i) => (i ? Math.hypot(p.x - points[i - 1].x, p.y - points[i - 1].y) : 0));
    const marks = lengths.map(((sum) => (value) => (sum += value))(0));
    const total = marks[marks.length - 1] || 1;
    let stop = total;
    if (step.lost) {
      const where = route.indexOf(step.lostAt);
      stop = where > 0 ? marks[whole.at[where]] - 34 : total * 0.72;
    }
    const packet = this.packet(step);
    this.over.append(packet.group);
    if (this.nodes[step.f]) this.nodes[step.f].classList.add("here");
    const gates = (step.tags || []).map((tag) => ({ ...tag, mark: marks[whole.at[Math.max(0, route.indexOf(tag.at))]] }));
    let shownTag = -1;
    return (done) => {
      const travelled = stop * done;
      let leg = 1;
      while (leg < marks.length - 1 && marks[leg] < travelled) leg += 1;
      const share = lengths[leg] ? clamp((travelled - marks[leg - 1]) / lengths[leg], 0, 1) : 1;
      const from = points[Math.min(leg, points.length) - 1];
      const to = points[leg] || from;
      const x = from.x + (to.x - from.x) * share;
      const y = from.y + (to.y - from.y) * share;
      this.route.setAttribute("d", Map_.path([...points.slice(0, leg), { x, y }]));
      let tag = 0;
      gates.forEach((gate, place) => { if (gate.mark <= travelled + 0.5) tag = place; });
      if (gates.length && tag !== shownTag) {
        packet.say(gates[tag], shownTag < 0 ? null : gates[shownTag]);
        if (shownTag >= 0 && this.nodes[gates[tag].at]) this.nodes[gates[tag].at].classList.add("flash");
        shownTag = tag;
      }
      packet.move(x, y, done, this.tall ? 560 : 1000);
      if (done >= 1) {
        if (step.lost) packet.lose(step.why);
        else if (this.nodes[step.o]) this.nodes[step.o].classList.add("here");
      }
    };
  }

  packet(step) {
    const text = step.n.length > 22 ? `${step.n.slice(0, 21)}…` : step.n;
    const width = text.length * (this.tall ? 9.6 : 8) + 24;
    const pill = svg("g", {},
      svg("rect", { class: "m-pill", x: -width / 2, y: -14, width, height: 28, rx: 14 }),
      svg("text", { class: "m-pill-text", y: 5 }, text));
    const tag = svg("g");
    const group = svg("g", {}, tag, pill);
    let half = 100;
    const say = (now, before) => {
      const lines = [["from", now.from, before && before.from !== now.from], ["to", now.to, before && before.to !== now.to]];
      const longest = Math.max(now.from.length + 5, now.to.length + 5);
      half = (longest * (this.tall ? 8.5 : 7.3) + 18) / 2;
      tag.replaceChildren(svg("rect", { class: "m-tag", x: -half, y: -61, width: half * 2, height: 42, rx: 9 }));
      lines.forEach(([word, value, fresh], row) => tag.append(
        svg("text", { class: "m-tag-text", x: -half + 9, y: -44 + row * 17 },
          svg("tspan", { class: "k" }, `${word.padEnd(5, "\u00a0")}`), svg("tspan", { class: fresh ? "new" : "" }, value))));
    };
    const move = (x, y, done, room) => {
      group.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
      const shift = clamp(x, half + 8, room - half - 8) - x;
      tag.setAttribute("transform", `translate(${shift.toFixed(1)} ${y < 78 ? 80 : 0})`);
    };
    const lose = (why) => {
      pill.append(
        svg("path", { class: "m-cross", d: `M${-width / 2 - 4} -18L${width / 2 + 4} 18M${width / 2 + 4} -18L${-width / 2 - 4} 18` }));
      if (why) {
        const wide = why.length * 7.4 + 20;
        const left = svg("g", { transform: "translate(0 36)" },
          svg("rect", { class: "m-think", x: -wide / 2, y: -13, width: wide, height: 26, rx: 9 }),
          svg("text", { class: "m-think-text", y: 5 }, why));
        group.append(left);
      }
    };
    return { group, say, move, lose };
  }

  /* What a node does by itself: a ring and a word over it. */
  think(step) {
    this.clear();
    this.color(step);
    const place = this.places[step.f];
    if (!place) return;
    this.nodes[step.f].classList.add("here");
    const text = step.n.length > 26 ? `${step.n.slice(0, 25)}…` : step.n;
    const width = text.length * (this.tall ? 9.2 : 7.6) + 24;
    const room = this.tall ? 560 : 1000;
    const x = clamp(place.x, width / 2 + 8, room - width / 2 - 8);
    const y = Math.max(18, place.y - 56);
    this.over.append(svg("g", { transform: `translate(${x} ${y})` },
      svg("rect", { class: "m-think", x: -width / 2, y: -14, width, height: 28, rx: 10 }),
      svg("text", { class: "m-think-text", y: 5 }, text)));
  }
}

/* --- one step ----------------------------------------------------------------------------------------- */
function show(step, moving) {
  cancelAnimationFrame(frame);
  $("clock").textContent = clock(step.t);
  $("clock").className = `clock ${kindOf(step)}`;
  $("caption").replaceChildren(...withCode(step.p));
  $("range").value = state.step;
  $("range").setAttribute("aria-valuetext", `step ${state.step + 1} of ${steps().length}: ${step.p}`);
  markChapter();
  markRow();
  drawSound();
  if (state.look) drawLook(step);
  if (!step.r) {
    map.think(step);
    return 0;
  }
  const draw = map.travel(step);
  if (!moving || calm.matches) {
    draw(1);
    return 0;
  }
  const length = (step.k === "check" || step.k === "stun" ? 900 : 1150) * (step.v ? 1.35 : 1) / state.speed;
  const begun = performance.now();
  const tick = (now) => {
    const share = clamp((now - begun) / length, 0, 1);
    draw(share < 0.5 ? 2 * share * share : 1 - (2 - 2 * share) ** 2 / 2);
    if (share < 1) frame = requestAnimationFrame(tick);
  };
  draw(0);
  frame = requestAnimationFrame(tick);
  return length;
}

/* Which directions of sound have begun, and not ended, at this step. */
function drawSound() {
  const first = call().sides[0].name.toLowerCase();
  let out = false;
  let back = false;
  for (let place = 0; place <= state.step; place += 1) {
    const step = steps()[place];
    if (step.media) {
      if (step.media.toLowerCase() === first) out = true;
      else back = true;
    }
    if (step.state === "ended" || step.state === "failed") out = back = false;
  }
  map.media(call().media, out, back);
}

function go(place, moving = true) {
  state.step = clamp(place, 0, Math.max(0, steps().length - 1));
  const length = steps().length ? show(current(), moving) : 0;
  remember();
  return length;
}

function move(by, moving = true) {
  let place = state.step + by;
  while (place >= 0 && place < steps().length && !visible(steps()[place])) place += by;
  if (place < 0 || place >= steps().length) return -1;
  return go(place, moving);
}

function moveChapter(by) {
  const starts = chapterStarts();
  const now = starts.findIndex((start, i) => start.at <= state.step && (i === starts.length - 1 || starts[i + 1].at > state.step));
  const target = starts[clamp(now + by, 0, starts.length - 1)];
  if (target) go(target.at);
}

function play() {
  if (state.playing) return pause();
  state.playing = true;
  $("play").setAttribute("aria-label", "Pause");
  $("play-icon").setAttribute("d", "M7 4h4v16H7zM14 4h4v16h-4z");
  if (state.step >= steps().length - 1) state.step = -1;
  on();
  return undefined;
}

function on() {
  const length = move(1);
  if (length < 0) return pause();
  const step = current();
  const reading = clamp(step.p.length * 26, 700, 2600) * (step.k === "check" ? 0.6 : 1);
  timer = setTimeout(on, Math.max(length, 0) + reading / state.speed * (length ? 0.55 : 0.8));
  return undefined;
}

function pause() {
  state.playing = false;
  clearTimeout(timer);
  $("play").setAttribute("aria-label", "Play");
  $("play-icon").setAttribute("d", "M7 4v16l13-8z");
}

/* --- chapters and lanes ------------------------------------------------------------------------------- */
/* Where each chapter begins, in the order of a call. What happens early (checks before the other side has
   answered) stays with the chapter it falls into; a chapter that only ever came early begins there. */
function chapterStarts() {
  if (chapterStarts.of === call()) return chapterStarts.found;
  const starts = [];
  let after = 0;
  call().chapters.forEach((_, c) => {
    const mine = (step, at) => step.c === c && at >= after;
    let at = steps().findIndex(mine);
    if (at < 0) at = steps().findIndex((step) => step.c === c);
    else after = at;
    if (at >= 0) starts.push({ at, c });
  });
  starts.sort((a, b) => a.at - b.at || a.c - b.c);
  chapterStarts.of = call();
  chapterStarts.found = starts;
  return starts;
}

function drawChapters() {
  const starts = chapterStarts();
  const box = $("chapters");
  box.replaceChildren(...starts.map(({ at, c }, place) => {
    const end = place + 1 < starts.length ? starts[place + 1].at : steps().length;
    const name = call().chapters[c];
    const button = el("button", { "data-chapter": c, title: name, on: { click: () => { pause(); go(at); } } },
      el("span", {}, name[0].toUpperCase() + name.slice(1)));
    button.style.flex = `${end - at} 1 0`;
    return button;
  }));
}

function markChapter() {
  const reached = chapterStarts().filter(({ at }) => at <= state.step).map(({ c }) => c);
  const now = reached[reached.length - 1];
  for (const button of $("chapters").children) {
    const mine = Number(button.dataset.chapter);
    button.classList.toggle("now", mine === now);
    button.classList.toggle("past", mine !== now && reached.includes(mine));
  }
  placeLabels();
}

/* Only labels that fit over their part of the bar are shown, and the present chapter's in any case: it may reach
   over its neighbours, whose labels make way, but not past the bar's end. */
function placeLabels() {
  const apart = 3;
  const box = $("chapters");
  const labels = [...box.children].map((button) => ({ button, now: button.classList.contains("now"),
    from: button.offsetLeft - box.offsetLeft, room: button.clientWidth, width: button.firstChild.offsetWidth }));
  const now = labels.find((label) => label.now);
  if (!now) return;
  const begin = Math.max(0, Math.min(now.from, box.clientWidth - now.width));
  const end = begin + now.width;
  for (const { button, from, room, width } of labels) {
    const covered = from < end + apart && from + width > begin - apart;
    button.classList.toggle("mute", button !== now.button && (width + apart > room || covered));
    button.firstChild.style.left = button === now.button ? `${begin - from}px` : "";
  }
}

function lanePlaces() {
  const lanes = call().lanes;
  const edge = 12;
  return Object.fromEntries(lanes.map((name, i) => [name, lanes.length > 1 ? edge + (100 - 2 * edge) * i / (lanes.length - 1) : 50]));
}

function drawLanes() {
  const places = lanePlaces();
  $("lane-heads").replaceChildren(...Object.entries(places).map(([name, left]) => {
    const words = (call().names[name] || name).replace(/^the /, "");
    const head = el("span", {}, words[0].toUpperCase() + words.slice(1));
    head.style.left = `${left}%`;
    return head;
  }));
  const rows = [];
  const starts = chapterStarts();
  let chapter = 0;
  steps().forEach((step, place) => {
    if (!visible(step)) return;
    while (chapter < starts.length && starts[chapter].at <= place) {
      const name = call().chapters[starts[chapter].c];
      const next = starts[chapter + 1];
      if (!next || next.at > place) rows.push(el("div", { class: "chapter-row" }, name[0].toUpperCase() + name.slice(1)));
      chapter += 1;
    }
    rows.push(laneRow(step, place, places));
  });
  $("rows").replaceChildren(...rows);
}

function laneRow(step, place, places) {
  const track = el("span", { class: "track" });
  for (const left of Object.values(places)) {
    const rail = el("span", { class: "rail" });
    rail.style.left = `${left}%`;
    track.append(rail);
  }
  const from = places[step.f];
  const to = places[step.o];
  if (from !== undefined && to !== undefined && from !== to) {
    const [left, right] = from < to ? [from, to] : [to, from];
    const arrow = el("span", { class: `arrow ${from < to ? "right" : "left"}` });
    arrow.style.left = `${left}%`;
    arrow.style.width = `${right - left}%`;
    const label = el("span", { class: "label" }, step.n + (step.times ? ` ×${step.times}` : ""));
    label.style.left = `${(left + right) / 2}%`;
    label.style.maxWidth = `${right - left - 3}%`;
    track.append(arrow, label);
  } else {
    const left = from ?? 50;
    const dot = el("span", { class: "dot" });
    dot.style.left = `${left}%`;
    const remark = el("span", { class: "remark" }, step.p);
    if (left > 60) {
      remark.style.right = `${100 - left + 2.5}%`;
      remark.style.maxWidth = `${left - 4}%`;
    } else {
      remark.style.left = `${left + 2.5}%`;
      remark.style.maxWidth = `${96 - left}%`;
    }
    track.append(dot, remark);
  }
  return el("button", { class: `row ${kindOf(step)}`, "data-step": place, "aria-label": `${clock(step.t)}: ${step.p}`,
    on: { click: () => { pause(); go(place); } } }, el("span", { class: "time" }, (step.t - steps()[0].t).toFixed(3)), track);
}

function markRow() {
  const box = $("rows");
  const old = box.querySelector("[aria-current]");
  if (old) old.removeAttribute("aria-current");
  const row = box.querySelector(`[data-step="${state.step}"]`);
  if (!row) return;
  row.setAttribute("aria-current", "step");
  const top = row.offsetTop - box.offsetTop;
  if (top < box.scrollTop + 60 || top > box.scrollTop + box.clientHeight - 90) box.scrollTop = top - box.clientHeight * 0.4;
}

/* --- a deeper look ------------------------------------------------------------------------------------ */
function drawLook(step) {
  const parts = [el("h3", {}, step.d.stun ? `${step.d.stun} · transaction ${step.d.id}` : step.n)];
  parts.push(el("p", { class: "hop" }, el("code", {}, step.x)));
  if (step.tags) {
    parts.push(el("h4", {}, "What the packet said on its way"));
    for (const tag of step.tags) {
      const at = call().names[tag.at] || tag.at;
      parts.push(el("div", { class: "hop" }, el("b", {}, tag === step.tags[0] ? `leaves ${at}` : `after ${at}`), el("code", {}, `${tag.from} → ${tag.to}`)));
    }
    if (step.lost) parts.push(el("div", { class: "hop" }, el("b", {}, "lost"), step.lostAt ? `at ${call().names[step.lostAt] || step.lostAt}: ${step.why || ""}` : "it was never received"));
    if (step.a) parts.push(el("div", { class: "hop" }, el("b", {}, "arrives"), `after ${((step.a - step.t) * 1000).toFixed(1)} ms`));
  }
  if (step.d.sip) parts.push(el("h4", {}, "The message, without its secrets"), sipText(step.d.sip));
  if (step.d.attrs) {
    parts.push(el("div", { class: "columns" },
      el("div", { class: "scroll" }, el("h4", {}, "Attributes"), step.d.attrs.length ? el("table", {}, step.d.attrs.map(([name, value]) => el("tr", {}, el("th", {}, name), el("td", {}, value)))) : el("p", {}, "none")),
      step.d.hex ? el("div", {}, el("h4", {}, `Bytes (${step.d.hex.length / 2})`), hexDump(step.d.hex)) : null));
  }
  if (step.d.fields) parts.push(el("h4", {}, "The record"), el("table", {}, step.d.fields.map(([name, value]) => el("tr", {}, el("th", {}, name.replaceAll("_", " ")), el("td", {}, value)))));
  if (step.d.cut) parts.push(el("p", {}, step.d.cut));
  $("look").replaceChildren(...parts);
}

function sipText(text) {
  let body = false;
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const hide = (line) => line.split(/(\[hidden\])/).map((part, i) => (i % 2 ? el("span", { class: "hide" }, part) : part));
  return el("pre", { tabindex: 0 }, lines.map((line, place) => {
    const end = place < lines.length - 1 ? "\n" : "";
    if (place === 0) return el("span", { class: "first" }, line + end);
    if (line === "" && !body) {
      body = true;
      return end;
    }
    if (body) return el("span", { class: /^\s*</.test(line) ? "xml" : /^a=candidate|^a=remote-candidates/.test(line) ? "sdp" : "" }, ...hide(line), end);
    const colon = line.indexOf(":");
    if (colon < 1 || /^\s/.test(line)) return el("span", {}, ...hide(line), end);
    return el("span", {}, el("span", { class: "name" }, line.slice(0, colon + 1)), ...hide(line.slice(colon + 1)), end);
  }));
}

function hexDump(hex) {
  const css = (at) => (at < 2 ? "t" : at < 4 ? "l" : at < 8 ? "c" : at < 20 ? "i" : "");
  const pre = el("pre", { class: "hex", tabindex: 0, title: "purple: type, amber: length, grey: magic cookie, blue: transaction" });
  for (let row = 0; row < hex.length / 2; row += 16) {
    pre.append(el("span", { class: "o" }, `${row.toString(16).padStart(4, "0")}  `));
    let plain = "";
    for (let at = row; at < row + 16; at += 1) {
      const byte = hex.slice(at * 2, at * 2 + 2);
      pre.append(byte ? el("span", { class: css(at) }, `${byte} `) : "   ");
      if (at === row + 7) pre.append(" ");
      const code = parseInt(byte, 16);
      plain += byte ? (code > 31 && code < 127 ? String.fromCharCode(code) : "·") : "";
    }
    pre.append(el("span", { class: "o" }, ` ${plain}\n`));
  }
  return pre;
}

function toggleLook(open = !state.look) {
  state.look = open;
  $("look").hidden = !open;
  $("look-button").setAttribute("aria-expanded", String(open));
  if (open && steps().length) drawLook(current());
  remember();
}

/* --- below the stage ---------------------------------------------------------------------------------- */
function card(span, title, note, ...content) {
  return el("section", { class: `card span-${span}` }, el("h3", {}, title, note ? el("small", {}, note) : null), ...content);
}

function drawCards() {
  const c = call();
  $("numbers").replaceChildren(...c.stats.map((s) =>
    el("div", {}, el("dt", {}, s.label), el("dd", {}, s.value, s.note ? el("small", {}, s.note) : null))));
  const cards = [];
  if (c.findings.length) {
    cards.push(card(7, "Findings", "", c.findings.map((f) => el("div", { class: "finding" },
      el("span", { class: `sign sign-${f.severity}`, title: f.severity }, { error: "!", warning: "!", info: "i" }[f.severity]),
      el("div", {}, el("b", {}, f.title), el("p", {}, f.meaning), el("p", { class: "remedy" }, f.remedy),
        f.steps.map((at) => el("button", { class: "jump", on: { click: () => jump(at) } }, `see step ${at + 1}`)))))));
  }
  cards.push(card(c.findings.length ? 5 : 12, "Addresses each side offered", "the filled dot is in use", el("div", { class: "sides" }, c.sides.map((side) =>
    el("div", {}, el("h4", {}, side.name), side.candidates.map((one) => el("div", { class: `candidate${one.chosen ? " chosen" : ""}` },
      el("i"), el("div", {}, el("code", {}, one.address), el("span", {}, one.label)))))))));
  for (const sheet of c.sheets) {
    cards.push(card(12, sheet.title, sheet.note, el("div", { class: "sheet" }, sheet.pictures.map((one) =>
      el("figure", {}, el("img", { src: one.src, alt: one.words }), el("figcaption", {}, one.words))))));
  }
  if (c.why.length) {
    cards.push(card(12, "Why not a better way", "", el("ul", { class: "why" }, c.why.map((w) => el("li", {},
      el("code", {}, w.title), el("p", {}, w.cause[0].toUpperCase() + w.cause.slice(1) + "."), w.detail ? el("p", {}, w.detail) : null)))));
  }
  if (c.pairs.length) {
    cards.push(card(12, "Pairs tried", `by ${c.sides[0].name}, best first`, el("div", { class: "scroll" }, el("table", { class: "pairs" },
      el("thead", {}, el("tr", {}, ["From", "To", "Way", "Result"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, c.pairs.map((pair) => el("tr", { class: pair.outcome === "chosen" ? "is-chosen" : "" },
        el("td", {}, el("code", {}, pair.local)), el("td", {}, el("code", {}, pair.remote)), el("td", {}, pair.path),
        el("td", { class: `out out-${pair.outcome}` }, pair.result))))))));
  }
  $("cards").replaceChildren(...cards);
}

function jump(at) {
  pause();
  go(at);
  document.querySelector(".work").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
}

/* --- tabs, filters ------------------------------------------------------------------------------------ */
function sketch(path) {
  const art = svg("svg", { viewBox: "0 0 96 40", "aria-hidden": "true" });
  const wall = (x) => svg("rect", { x: x - 3, y: 11, width: 6, height: 18, rx: 3, fill: "var(--faint)" });
  const dot = (x) => svg("circle", { cx: x, cy: 20, r: 6.5, fill: "var(--tone)" });
  const line = (d, dash) => svg("path", { d, fill: "none", stroke: "var(--tone)", "stroke-width": 2.6, "stroke-linecap": "round", "stroke-dasharray": dash || null });
  if (path === "direct") art.append(line("M12 20H84"));
  else if (path === "reflexive") art.append(wall(33), wall(63), line("M12 20H84"));
  else if (path === "none") art.append(wall(33), wall(63), line("M12 20H28"), line("M84 20H68"), svg("path", { d: "M44 15l9 10m0-10l-9 10", stroke: "var(--tone)", "stroke-width": 2.6, "stroke-linecap": "round" }));
  else {
    art.append(wall(31), wall(65), line("M12 20C28 20 34 9 48 9S68 20 84 20", path === "relay_udp" ? "" : "5 5"),
      svg("path", { d: "M48 2l7 4v7l-7 4-7-4V6z", fill: "var(--card)", stroke: "var(--tone)", "stroke-width": 2.4 }));
  }
  art.append(dot(12), dot(84));
  return art;
}

function drawTabs() {
  const tabs = DATA.calls.map((c, place) => {
    const told = ["heard", "seen"].map((word) => [word, c.stats.find((s) => new RegExp(`\\b${word}\\b`, "i").test(s.label))])
      .filter(([, stat]) => stat).map(([word, stat]) => `, ${stat.value} ${word}`);
    return el("button", { class: `tab tone-${c.pathId}`, role: "tab", id: `tab-${place}`, "aria-controls": "call", "aria-selected": "false", tabindex: -1,
      on: { click: () => choose(place) } }, sketch(c.pathId), el("b", {}, c.title),
      el("span", {}, el("span", { class: "way" }, c.path), told.join("")));
  });
  $("tabs").replaceChildren(...tabs);
  $("tabs").classList.toggle("alone", tabs.length < 2);
  $("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    choose((state.call + by + DATA.calls.length) % DATA.calls.length);
    $(`tab-${state.call}`).focus();
  });
}

function drawFilters() {
  const counts = {};
  for (const step of steps()) counts[KINDS[step.k] ? step.k : "note"] = (counts[KINDS[step.k] ? step.k : "note"] || 0) + 1;
  $("filters").replaceChildren(...Object.entries(KINDS).filter(([kind]) => counts[kind]).map(([kind, name]) =>
    el("button", { class: `kind-${kind}`, "aria-pressed": String(!state.hidden.has(kind)), on: { click: (event) => {
      if (state.hidden.has(kind)) state.hidden.delete(kind);
      else state.hidden.add(kind);
      event.currentTarget.setAttribute("aria-pressed", String(!state.hidden.has(kind)));
      drawLanes();
      markRow();
    } } }, name, el("small", {}, String(counts[kind])))));
}

function choose(place, step = 0, moving = false) {
  pause();
  cancelAnimationFrame(frame);
  state.call = clamp(place, 0, DATA.calls.length - 1);
  [...$("tabs").children].forEach((tab, i) => {
    tab.setAttribute("aria-selected", String(i === state.call));
    tab.tabIndex = i === state.call ? 0 : -1;
    if (i === state.call) $("tabs").scrollLeft = tab.offsetLeft - ($("tabs").clientWidth - tab.offsetWidth) / 2;
  });
  const c = call();
  $("call").setAttribute("aria-labelledby", `tab-${state.call}`);
  $("headline").textContent = c.headline;
  $("lead").textContent = [c.lead, c.timing].filter(Boolean).join(" · ");
  $("range").max = Math.max(0, c.steps.length - 1);
  map = new Map_($("map"), c.picture, c.names);
  drawChapters();
  drawFilters();
  drawLanes();
  drawCards();
  $("rows").scrollTop = 0;
  if (c.steps.length) go(step, moving);
  else $("caption").textContent = "This trace holds no steps to show.";
}

/* --- the address line, keys, theme -------------------------------------------------------------------- */
function remember() {
  const parts = [`call=${state.call + 1}`, `step=${state.step + 1}`];
  if (state.look) parts.push("look=1");
  if (forced) parts.push(`theme=${document.documentElement.dataset.theme}`);
  clearTimeout(remember.later);
  remember.later = setTimeout(() => {
    try {
      history.replaceState(null, "", `#${parts.join("&")}`);
    } catch {
      /* some viewers forbid it; the page works without */
    }
  }, 120);
}

let forced = false;
function theme(name) {
  document.documentElement.dataset.theme = name;
}

function restore() {
  const asked = new URLSearchParams(location.hash.slice(1));
  forced = ["dark", "light"].includes(asked.get("theme"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  theme(forced ? asked.get("theme") : dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { if (!forced) theme(dark.matches ? "dark" : "light"); });
  drawTabs();
  choose((Number(asked.get("call")) || 1) - 1, (Number(asked.get("step")) || 1) - 1);
  if (asked.get("look") === "1") toggleLook(true);
  if (asked.get("play") === "1") play();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("select, input:not([type=range]), textarea");
  if (typing) return;
  const onRange = event.target === $("range");
  const actions = {
    ArrowRight: () => { pause(); if (event.shiftKey) moveChapter(1); else move(1); },
    ArrowLeft: () => { pause(); if (event.shiftKey) moveChapter(-1); else move(-1, false); },
    Home: () => { pause(); go(0); },
    End: () => { pause(); go(steps().length - 1); },
    "?": () => toggleHelp(),
    "+": () => faster(1),
    "=": () => faster(1),
    "-": () => faster(-1),
    d: () => toggleLook(),
    t: () => switchTheme(),
  };
  if (event.key === " " && !event.target.closest("button")) {
    event.preventDefault();
    play();
    return;
  }
  if (/^[1-9]$/.test(event.key)) {
    if (Number(event.key) <= DATA.calls.length) choose(Number(event.key) - 1);
    return;
  }
  const action = actions[event.key] || actions[event.key.toLowerCase()];
  if (action && !(onRange && /^(Arrow|Home|End)/.test(event.key))) {
    event.preventDefault();
    action();
  }
}

function faster(by) {
  const select = $("speed");
  select.selectedIndex = clamp(select.selectedIndex + by, 0, select.options.length - 1);
  state.speed = Number(select.value);
}

function switchTheme() {
  forced = true;
  theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  remember();
}

function toggleHelp() {
  const open = $("help").hidden;
  $("help").hidden = !open;
  $("help-button").setAttribute("aria-expanded", String(open));
}

$("play").addEventListener("click", play);
$("next").addEventListener("click", () => { pause(); move(1); });
$("previous").addEventListener("click", () => { pause(); move(-1, false); });
$("range").addEventListener("input", () => { pause(); go(Number($("range").value), false); });
$("speed").addEventListener("change", () => { state.speed = Number($("speed").value); });
$("look-button").addEventListener("click", () => toggleLook());
$("theme-button").addEventListener("click", switchTheme);
$("help-button").addEventListener("click", toggleHelp);
document.addEventListener("keydown", keys);
window.addEventListener("resize", () => {
  const tall = $("map").parentElement.clientWidth < 620;
  if (map && tall !== map.tall) choose(state.call, state.step);
  else placeLabels();
});
restore();
