// The line to the server: SIP in a WebSocket to where the page came from, a registration, and the calls over it.

import { JsSIP } from "/jssip.js";
import { PhoneCall } from "/call.js";
import { Relays } from "/relays.js";
import { refused } from "/words.js";

const REGISTER_FOR = 600; // seconds
const MAX_CALLS = 1;

export class Line extends EventTarget {
  #agent;
  #relays;
  #up = false;
  calls = new Set();

  constructor({ address, password, settings }) {
    super();
    this.address = address;
    this.domain = address.split("@")[1];
    const socket = new JsSIP.WebSocketInterface(new URL(settings.websocket, `wss://${location.host}`).href);
    this.#agent = new JsSIP.UA({
      sockets: [socket],
      uri: `sip:${address}`,
      password,
      register_expires: REGISTER_FOR,
      instance_id: instance(),
      user_agent: `JsSIP ${JsSIP.version} (iceway ${settings.version})`,
      session_timers: true,
    });
    this.#relays = new Relays(this.#agent, (trouble) => this.#heardOfRelays(trouble));
    this.#agent.on("registered", ({ response }) => this.#registered(response));
    this.#agent.on("registrationFailed", (event) => this.#tell("refused", refused(event)));
    this.#agent.on("disconnected", (event) => this.#tell("lost", event.error ? "no connection to the server" : ""));
    this.#agent.on("newRTCSession", (event) => this.#session(event));
  }

  start() {
    this.#agent.start();
  }

  stop() {
    this.#relays.stop();
    this.#agent.stop();
  }

  get iceServers() {
    return this.#relays.servers;
  }

  /** "bob" → "bob@example.test". */
  whole(peer) {
    const bare = peer.trim().replace(/^sips?:/i, "");
    return bare.includes("@") ? bare : `${bare}@${this.domain}`;
  }

  call(peer, stream) {
    const session = this.#agent.call(`sip:${this.whole(peer)}`, {
      mediaStream: stream,
      pcConfig: this.#pcConfig(),
      sessionTimersExpires: 1800,
    });
    const call = new PhoneCall(session, { peer: this.whole(peer), name: this.#short(this.whole(peer)), incoming: false });
    call.brings(stream);
    return this.#keep(call);
  }

  answer(call, stream) {
    call.answer(stream, this.#pcConfig());
  }

  #pcConfig() {
    return { iceServers: this.#relays.servers };
  }

  #session({ originator, session, request }) {
    if (originator !== "remote") return;
    const from = session.remote_identity;
    const peer = `${from.uri.user}@${from.uri.host}`;
    const call = new PhoneCall(session, { peer, name: from.display_name || this.#short(peer), incoming: true });
    if (this.calls.size >= MAX_CALLS) {
      call.decline(486);
      this.dispatchEvent(new CustomEvent("missed", { detail: call }));
      return;
    }
    call.offersVideo = PhoneCall.wantsVideo(request);
    this.#keep(call);
    this.dispatchEvent(new CustomEvent("rings", { detail: call }));
  }

  #keep(call) {
    this.calls.add(call);
    call.addEventListener("over", () => this.calls.delete(call));
    return call;
  }

  #short(peer) {
    const [user, host] = peer.split("@");
    return host === this.domain ? user : peer;
  }

  #registered(response) {
    this.#relays.registered(response);
    this.#up = true;
    this.#tell("registered");
  }

  #heardOfRelays(trouble) {
    this.#tell("relays", trouble);
    if (trouble === null)
      for (const call of this.calls) if (call.established) call.useRelays(this.#relays.servers, call.relayed);
  }

  #tell(what, detail = null) {
    if (what === "lost" || what === "refused") this.#up = false;
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }
}

/** One device for as long as the tab lives, so that the server knows it again after a reload (RFC 5626 §4.1). */
function instance() {
  const kept = sessionStorage.getItem("instance") ?? crypto.randomUUID();
  sessionStorage.setItem("instance", kept);
  return kept;
}
