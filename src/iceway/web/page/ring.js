// Ringing and ringback, as notes of the browser's own.

let context = null;
let timer = null;

/** Browsers let pages make sound only after somebody has touched them. */
export function wake() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume();
}

export function ring(kind) {
  hush();
  const [notes, every] = kind === "incoming" ? [[660, 880, 660, 880], 2600] : [[425], 4000];
  const play = () => notes.forEach((hertz, at) => note(hertz, at * 0.18, kind === "incoming" ? 0.16 : 0.9));
  play();
  timer = setInterval(play, every);
}

export function hush() {
  clearInterval(timer);
  timer = null;
}

function note(hertz, after, lasts) {
  if (!context || context.state !== "running") return;
  const [tone, loud, begin] = [context.createOscillator(), context.createGain(), context.currentTime + after];
  tone.frequency.value = hertz;
  loud.gain.setValueAtTime(0, begin);
  loud.gain.linearRampToValueAtTime(0.08, begin + 0.02);
  loud.gain.setValueAtTime(0.08, begin + lasts - 0.03);
  loud.gain.linearRampToValueAtTime(0, begin + lasts);
  tone.connect(loud).connect(context.destination);
  tone.start(begin);
  tone.stop(begin + lasts);
}
