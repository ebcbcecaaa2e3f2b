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
  #stopped = false;
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
    this.#agent.on("disconnected", () => this.#stopped || this.#tell("lost", "no connection to the server"));
    this.#agent.on("newRTCSession", (event) => this.#session(event));
  }

  start() {
    this.#agent.start();
  }

  stop() {
    this.#stopped = true;
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
    call.addEventListener("sent", ({ detail }) => this.#follow(call, detail));
    return call;
  }

  /** The other side sends us on to somebody (REFER): the new call goes `after` the one that it may replace. */
  #follow(after, refer) {
    const track = after.own("audio")?.clone();
    if (!after.established || !track) {
      refer.reject();
      return;
    }
    track.enabled = true; // while the call is held it is not
    const { user, host } = refer.request.refer_to.uri;
    const stream = new MediaStream([track]);
    const begin = (session) => {
      const call = new PhoneCall(session, { peer: `${user}@${host}`, name: this.#short(`${user}@${host}`), incoming: false });
      call.brings(stream);
      call.after = after;
      if (after.muted) call.mute(true);
      this.#keep(call);
      this.dispatchEvent(new CustomEvent("moves", { detail: call }));
    };
    refer.accept(begin, { mediaStream: stream, pcConfig: this.#pcConfig() });
  }

  #short(peer) {
    const [user, host] = peer.split("@");
    return host === this.domain ? user : peer;
  }

  #registered(response) {
    this.#relays.registered(response);
    this.#tell("registered");
  }

  #heardOfRelays(trouble) {
    this.#tell("relays", trouble);
    if (trouble === null)
      for (const call of this.calls) if (call.established) call.useRelays(this.#relays.servers, call.relayed);
  }

  #tell(what, detail = null) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }
}

/** One device for as long as the tab lives, so that the server knows it again after a reload (RFC 5626 §4.1). */
function instance() {
  const kept = sessionStorage.getItem("instance") ?? crypto.randomUUID();
  sessionStorage.setItem("instance", kept);
  return kept;
}
