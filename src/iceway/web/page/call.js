// One call: a JsSIP session with its peer connection, and what this side puts into it.
//
// A stream of pictures has a transceiver. The one for the shared screen is told from the camera's by `a=content:slides`
// (RFC 4796), which browsers neither write nor show, so it is written into and read from the SDP as it passes.

const GATHERING = 2000; // milliseconds that candidates may take after the first of them
const READY_TRIES = 40;

export class PhoneCall extends EventTarget {
  #session;
  #contents = new Map(); // mid → what the other side says is in it
  #slides = null;
  #answering = null;
  #local = new Map(); // "audio", "video", "slides" → our track
  #established = false;
  #refuse = null;
  #heldThere = false;

  constructor(session, { peer, name, incoming }) {
    super();
    this.#session = session;
    this.peer = peer;
    this.name = name;
    this.incoming = incoming;
    this.began = null;
    this.#survive(session);
    session.on("progress", (event) => this.#happened(event.originator === "remote" ? "rings" : "changed"));
    session.on("accepted", () => this.#up());
    session.on("confirmed", () => this.#up());
    for (const event of ["hold", "unhold", "muted", "unmuted"]) session.on(event, () => this.#happened("changed"));
    for (const event of ["ended", "failed"]) session.on(event, (end) => this.#over(end));
    session.on("refer", (event) => this.dispatchEvent(new CustomEvent("sent", { detail: event })));
    session.on("sdp", (event) => this.#described(event));
    session.on("icecandidate", (event) => this.#gathered(event));
    session.on("peerconnection", (event) => this.#watch(event.peerconnection));
    if (session.connection) this.#watch(session.connection);
  }

  get connection() {
    return this.#session.connection;
  }

  get established() {
    return this.#established;
  }

  get muted() {
    return Boolean(this.#session.isMuted().audio);
  }

  /** `{ local, remote }`: who holds. JsSIP takes a stream that was dropped (port 0) for one that flows. */
  get held() {
    return { local: this.#session.isOnHold().local, remote: this.#heldThere };
  }

  /** Whether the other side's offer has pictures in it. */
  static wantsVideo(request) {
    return /^m=video [1-9]/m.test(request.body ?? "");
  }

  /** Our track of that kind, if one is sent. */
  own(kind) {
    return this.#local.get(kind) ?? null;
  }

  /** The other side's track of that kind, if one is received. */
  theirs(kind) {
    for (const transceiver of this.connection?.getTransceivers() ?? []) {
      const receives = ["recvonly", "sendrecv"].includes(transceiver.currentDirection);
      if (receives && this.#kindOf(transceiver) === kind && !transceiver.receiver.track.muted)
        return transceiver.receiver.track;
    }
    return null;
  }

  /** What a stream of ours consists of before there is a connection. */
  brings(stream) {
    for (const track of stream.getTracks()) this.#local.set(track.kind, track);
  }

  answer(stream, pcConfig) {
    this.brings(stream);
    this.#session.answer({ mediaStream: stream, pcConfig });
    this.#happened("changed");
  }

  decline(status) {
    this.#session.terminate({ status_code: status });
  }

  hangUp() {
    if (!this.#session.isEnded()) this.#session.terminate();
  }

  mute(yes) {
    if (yes) this.#session.mute({ audio: true });
    else this.#session.unmute({ audio: true });
  }

  hold(yes) {
    return this.#agree((done) => (yes ? this.#session.hold({}, done) : this.#session.unhold({}, done)));
  }

  press(tone) {
    this.#session.sendDTMF(tone, { transportType: "RFC2833", duration: 120, interToneGap: 70 });
  }

  /** Send a camera or a screen ("video", "slides"); the other side is asked by re-INVITE. False: it does not want it. */
  async add(kind, track) {
    this.#local.set(kind, track);
    let way = this.connection.getTransceivers().find((one) => !one.stopped && this.#kindOf(one) === kind);
    if (way) {
      await way.sender.replaceTrack(track);
      way.direction = "sendrecv";
    } else {
      way = this.connection.addTransceiver(track, { direction: "sendrecv", streams: [new MediaStream([track])] });
      if (kind === "slides") this.#slides = way;
    }
    this.#happened("changed");
    await this.#renegotiate();
    const taken = ["sendrecv", "sendonly", "inactive"].includes(way.currentDirection);
    if (taken || this.#session.isEnded() || this.own(kind) !== track) return true;
    if (way.mid === null) way.stop();
    else if (!way.stopped) way.direction = "recvonly";
    this.#local.delete(kind);
    track.stop();
    this.#happened("changed");
    return false;
  }

  async drop(kind) {
    const track = this.#local.get(kind);
    if (!track) return;
    this.#local.delete(kind);
    track.stop();
    for (const transceiver of this.connection.getTransceivers())
      if (transceiver.sender.track === track) {
        await transceiver.sender.replaceTrack(null);
        transceiver.direction = "recvonly";
      }
    this.#happened("changed");
    await this.#renegotiate();
  }

  /** New credentials for the relays: for what is gathered from now on. `again`: gather now. */
  async useRelays(iceServers, again) {
    if (!this.connection || this.connection.signalingState === "closed") return;
    this.connection.setConfiguration({ ...this.connection.getConfiguration(), iceServers });
    if (again) await this.#renegotiate({ iceRestart: true });
  }

  // --- what happens ------------------------------------------------------------------------------------
  #watch(connection) {
    const changed = () => this.#happened("changed");
    connection.addEventListener("signalingstatechange", changed);
    connection.addEventListener("connectionstatechange", changed);
    connection.addEventListener("track", (event) => {
      event.track.addEventListener("mute", changed);
      event.track.addEventListener("unmute", changed);
      changed();
    });
  }

  #up() {
    if (!this.#established) {
      this.#established = true;
      this.began = performance.now();
      this.#happened("up");
    }
  }

  #over(event) {
    for (const track of this.#local.values()) track.stop();
    this.#local.clear();
    clearTimeout(this.#answering);
    this.#refuse?.();
    this.dispatchEvent(new CustomEvent("over", { detail: event }));
  }

  #happened(what) {
    this.dispatchEvent(new Event(what));
  }

  /** JsSIP sends no candidates later, so it waits for all; a relay that does not answer is not waited for. */
  #gathered({ ready }) {
    this.#answering ??= setTimeout(() => {
      this.#answering = null;
      ready();
    }, GATHERING);
  }

  #described(event) {
    if (event.originator === "remote") {
      this.#contents = contents(event.sdp);
      if (event.type === "offer") this.#heldThere = holds(event.sdp);
    } else event.sdp = marked(event.sdp, (mid) => this.#isSlides(mid));
  }

  #isSlides(mid) {
    return mid !== null && (this.#slides?.mid === mid || this.#contents.get(mid) === "slides");
  }

  #kindOf(transceiver) {
    if (transceiver.receiver.track.kind === "audio") return "audio";
    if (transceiver === this.#slides || this.#isSlides(transceiver.mid)) return "slides";
    return "video";
  }

  #renegotiate(constraints) {
    return this.#agree((done) => this.#session.renegotiate({ rtcOfferConstraints: constraints }, done));
  }

  /** What changes the session waits its turn: one offer at a time (RFC 3264 §4). False: it was refused. */
  async #agree(change) {
    for (let tries = 0; tries < READY_TRIES && !this.#session.isEnded(); tries++) {
      let decide;
      const decided = new Promise((done) => (decide = done));
      if (this.#session.isReadyToReOffer() && change(() => decide(true))) {
        this.#refuse = () => decide(false);
        const agreed = await decided;
        if (!agreed) await this.connection.setLocalDescription({ type: "rollback" }).catch(() => {});
        return agreed;
      }
      await new Promise((done) => setTimeout(done, 250));
    }
    return false;
  }

  /** JsSIP hangs up when a change is refused (but for glare, where it tries again). A call is worth more than that. */
  #survive(session) {
    const terminate = session.terminate.bind(session);
    session.terminate = (options = {}) => {
      if (/^(Hold|Unhold|Media Renegotiation) Failed$/.test(options.reason_phrase ?? "")) this.#refuse?.();
      else terminate(options);
    };
  }
}

/** mid → content, of a description. */
function contents(sdp) {
  const found = new Map();
  for (const section of sdp.split(/^(?=m=)/m)) {
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    if (mid !== undefined) found.set(mid, /^a=content:(\S+)/m.exec(section)?.[1] ?? "");
  }
  return found;
}

/** Whether an offer wants nothing from us in any stream that it has. */
function holds(sdp) {
  const [session, ...sections] = sdp.split(/^(?=m=)/m);
  const direction = (text) => /^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m.exec(text)?.[1];
  const flowing = sections.filter((section) => /^m=(audio|video) [1-9]/.test(section));
  const wants = flowing.map((section) => direction(section) ?? direction(session) ?? "sendrecv");
  return wants.length > 0 && wants.every((one) => one === "sendonly" || one === "inactive");
}

/** The description with `a=content:slides` where slides are. */
function marked(sdp, isSlides) {
  return sdp.replace(/^a=mid:(\S+)\r\n/gm, (line, mid) => (isSlides(mid) ? `${line}a=content:slides\r\n` : line));
}
