"use strict";
/* The grid: choose a cell, read its verdict, follow its ladder. Text from the data is put in as text only. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const panel = document.getElementById("cell");
  const buttons = [...document.querySelectorAll(".grid .cell")];
  const networks = Object.fromEntries(data.networks.map((one) => [one.name, one]));
  const columns = new Set(data.cells.map((cell) => cell.right)).size;
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 236, ROW = 26, MARGIN = 26;
  let chosen = -1;

  const el = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  };
  const svg = (tag, attributes, text) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // --- the panel ---------------------------------------------------------------------------------------
  function show(number, focus) {
    const cell = data.cells[number];
    if (!cell) return;
    if (chosen >= 0) {
      buttons[chosen].setAttribute("aria-pressed", "false");
      buttons[chosen].setAttribute("tabindex", "-1");
    }
    chosen = number;
    const button = buttons[number];
    button.setAttribute("aria-pressed", "true");
    button.setAttribute("tabindex", "0");
    if (focus) button.focus({ preventScroll: true });
    const tone = getComputedStyle(button.querySelector("rect")).fill;
    panel.replaceChildren(head(cell), el("div", "scroll", numbers(cell), offers(cell), ...why(cell), ladder(cell)));
    const badge = panel.querySelector(".badge");
    badge.style.setProperty("--tone", tone);
    badge.style.setProperty("--tone-ink", getComputedStyle(button.querySelector(".trips")).fill);
    for (const bar of panel.querySelectorAll(".bar u")) bar.style.setProperty("--tone", tone);
    const hash = `#${cell.left}:${cell.right}`;
    if (location.hash !== hash) history.replaceState(null, "", hash);
  }

  function head(cell) {
    const left = networks[cell.left], right = networks[cell.right];
    const ends = el("div", "ends", el("b", "", "Alice"), el("span", "", left.summary), el("b", "", "Bob"), el("span", "", right.summary));
    return el("div", "head", el("span", "badge", cell.way), el("h2", "", left.title, el("i", "", "→"), right.title), ends);
  }

  function numbers(cell) {
    const block = el("div", "block");
    if (cell.connect[0] !== null) {
      block.append(el("div", "numbers",
        figure("until media can flow", cell.connect),
        figure("until the pair is settled", cell.select)));
    }
    const fact = (good, text) => el("span", good ? "good" : "bad", text);
    const facts = el("div", "facts");
    if (cell.rtt !== null) facts.append(el("span", "", `one round trip of this path: ${cell.rtt} ms`));
    if (cell.pair) {
      facts.append(fact(cell.agreed, cell.agreed ? "both ends chose the same pair" : "the ends chose different pairs"),
        fact(cell.heard, cell.heard ? "each heard the other" : "they did not hear each other"));
    } else {
      facts.append(el("span", "", cell.reason));
    }
    facts.append(fact(!cell.faults.length, `the oracle expects: ${cell.expected}`));
    for (const fault of cell.faults) facts.append(fact(false, fault));
    block.append(facts);
    return block;
  }

  function figure(what, [ms, trips, budget]) {
    const bar = el("u", "");
    bar.style.width = `${Math.min(100, (100 * trips) / budget)}%`;
    return el("div", "number",
      el("b", "", trips.toFixed(1), " ", el("small", "", `round trips, ${Math.round(ms)} ms`)),
      el("div", "bar", bar),
      el("span", "", `${what}; budget ${budget.toFixed(1)}`));
  }

  function offers(cell) {
    const list = (name, offered) => el("div", "", el("h4", "", `${name} offers`), el("ul", "", ...offered.map(([text, used]) => {
      const item = el("li", used ? "used" : "", text);
      item.title = text;
      return item;
    })));
    return el("div", "block", el("div", "offers", list("Alice", cell.offers[0]), list("Bob", cell.offers[1])));
  }

  function why(cell) {
    if (!cell.why.length) return [];
    const items = cell.why.map(([title, cause, detail]) => el("li", "",
      el("b", "", title), el("span", "", cause), detail ? el("small", "", detail) : null));
    return [el("div", "block", el("h3", "", "Why not better"), el("ul", "why", ...items))];
  }

  // --- the ladder --------------------------------------------------------------------------------------
  function ladder(cell) {
    const gap = (WIDTH - 2 * MARGIN) / (cell.lanes.length - 1);
    const at = (lane) => MARGIN + lane * gap;
    return el("div", "ladder", lanes(cell, at), ...cell.rows.map((row) => step(row, cell, at)));
  }

  function lanes(cell, at) {
    const tops = svg("svg", { viewBox: `0 0 ${WIDTH} 27`, height: 27, "aria-hidden": "true" });
    cell.lanes.forEach((title, lane) => {
      const people = lane === 0 || lane === cell.lanes.length - 1;
      const words = title.split(" ");
      words.forEach((word, line) => tops.append(svg("text",
        { x: at(lane), y: 22 - 11 * (words.length - 1 - line), class: people ? "" : "box" }, word)));
    });
    return el("div", "lanes", el("p", "", "ms"), tops, el("p", ""));
  }

  function step([ms, kind, from, to, via, died, answered, label, note], cell, at) {
    const text = el("p", "", data.texts[label], data.texts[note] ? el("small", "", data.texts[note]) : null);
    const time = el("time", "", String(ms));
    if (kind === "mark") return el("div", "step kind-mark", time, text);
    const lost = died >= 0;
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${ROW}`, height: ROW, "aria-hidden": "true" });
    const track = el("div", "track", ...cell.lanes.map((_, lane) => {
      const rail = el("i", "");
      rail.style.left = `${(100 * at(lane)) / WIDTH}%`;
      return rail;
    }), drawing);
    const middle = ROW / 2;
    if (to < 0) {
      drawing.append(svg("circle", { class: "tip", cx: at(from), cy: middle, r: 4.5 }));
    } else {
      const begin = at(from), right = at(to) > begin, sign = right ? 1 : -1;
      const end = lost ? at(died) : at(to);
      drawing.append(svg("line", { class: "shaft", x1: begin, x2: end - sign * (lost ? 5 : 6), y1: middle, y2: middle }));
      if (via >= 0 && (!lost || (right ? died > via : died < via))) drawing.append(svg("circle", { class: "hop", cx: at(via), cy: middle, r: 4 }));
      if (lost) {
        for (const slope of [1, -1]) drawing.append(svg("line", { class: "cross", x1: end - 4, x2: end + 4, y1: middle - 4 * slope, y2: middle + 4 * slope }));
      } else {
        drawing.append(tip(end, middle, sign));
        if (answered) drawing.append(tip(begin, middle, -sign));
      }
    }
    return el("div", `step kind-${kind}${lost ? " lost" : ""}`, time, track, text);
  }

  function tip(x, y, sign) {
    return svg("path", { class: "tip", d: `M${x} ${y}l${-sign * 8} -4v8z` });
  }

  // --- choosing ----------------------------------------------------------------------------------------
  function byHash() {
    const [left, right] = decodeURIComponent(location.hash.slice(1)).split(":");
    return data.cells.findIndex((cell) => cell.left === left && cell.right === right);
  }
  function move(by) {
    const row = Math.floor(chosen / columns), column = chosen % columns;
    const [rows, down, across] = [data.cells.length / columns, ...by];
    const next = ((row + down + rows) % rows) * columns + ((column + across + columns) % columns);
    show(next, true);
  }
  function theme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    if (chosen >= 0) show(chosen, false);
  }

  buttons.forEach((button, number) => button.addEventListener("click", () => show(number, true)));
  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "t" || event.key === "T") theme(document.documentElement.dataset.theme !== "dark");
    const onCell = buttons.includes(document.activeElement) || document.activeElement === document.body;
    if (onCell && MOVES[event.key]) {
      event.preventDefault();
      move(MOVES[event.key]);
    }
  });
  document.getElementById("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
  window.addEventListener("hashchange", () => show(byHash(), false));
  theme(window.matchMedia("(prefers-color-scheme: dark)").matches);
  const classic = data.cells.findIndex((cell) => cell.left === "symmetric" && cell.right === "port-restricted");
  show([byHash(), classic, 0].find((number) => number >= 0), false);
})();
