// Relay credentials, as every client of iceway gets them: a SERVICE request to the address that the 200 to REGISTER
// named, answered with relays and credentials for some hours ([MS-AVEDGEA]). They are asked for again before they end.

import { JsSIP, OutgoingRequest, RequestSender } from "/jssip.js";

const CONTENT_TYPE = "application/msrtc-media-relay-auth+xml";
const NAMESPACE = "http://schemas.microsoft.com/2006/09/sip/mrasp";
const MINUTES = 480;
const RENEW_AT = 0.8; // of the granted time
const AGAIN = 60; // seconds, after a failure

export class Relays {
  #agent;
  #told;
  #timer = null;
  #service = null;
  #location = "intranet";
  /** RTCIceServers, as far as there are any now. */
  servers = [];

  /** `told(trouble)` is called when there is an answer: with null, or with a line about why there is no relay. */
  constructor(agent, told) {
    this.#agent = agent;
    this.#told = told;
  }

  /** Whenever a registration was accepted. */
  registered(response) {
    const service = /<([^>]+)>/.exec(response.getHeader("X-Iceway-Media-Relay-Service") ?? "");
    this.#location = response.getHeader("ms-user-logon-data") === "RemoteUser" ? "internet" : "intranet";
    this.#service = JsSIP.URI.parse(service?.[1] ?? "") ?? null;
    if (this.#service && !this.servers.length) this.#ask();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#service = null;
    this.servers = [];
  }

  #ask() {
    clearTimeout(this.#timer);
    const identity = this.#agent.configuration.uri.toString();
    const id = crypto.randomUUID();
    const request = new OutgoingRequest("SERVICE", this.#service, this.#agent, null, [`Content-Type: ${CONTENT_TYPE}`]);
    request.body =
      `<?xml version="1.0"?><request xmlns="${NAMESPACE}" requestID="${id}" version="1.0" ` +
      `to="${escaped(this.#service.toString())}" from="${escaped(identity)}"><credentialsRequest credentialsRequestID="${id}">` +
      `<identity>${escaped(identity)}</identity><location>${this.#location}</location>` +
      `<duration>${MINUTES}</duration></credentialsRequest></request>`;
    new RequestSender(this.#agent, request, {
      onReceiveResponse: (response) => this.#answered(response),
      onRequestTimeout: () => this.#failed("the server does not answer"),
      onTransportError: () => this.#failed("the connection is gone"),
    }).send();
  }

  #answered(response) {
    if (response.status_code < 200) return;
    if (response.status_code >= 300) {
      this.#failed(`the server says ${response.status_code} ${response.reason_phrase}`);
      return;
    }
    const granted = read(response.body, this.#location);
    if (typeof granted === "string") {
      this.#failed(granted);
      return;
    }
    this.servers = granted.servers;
    this.#later(granted.seconds * RENEW_AT);
    this.#told(null);
  }

  #failed(why) {
    this.#later(AGAIN);
    this.#told(why);
  }

  #later(seconds) {
    clearTimeout(this.#timer);
    if (this.#service) this.#timer = setTimeout(() => this.#ask(), seconds * 1000);
  }
}

// An XML parser is where policies of the page look; what comes out of this one is read and never shown as markup.
const xml = globalThis.trustedTypes?.createPolicy("xml", { createHTML: (text) => text });

/** Servers and seconds, or why there are none. Relays for the other location are taken where there is no choice. */
function read(body, location) {
  const root = new DOMParser().parseFromString(xml ? xml.createHTML(body) : body, "application/xml");
  const outcome = root.documentElement.getAttribute("reasonPhrase");
  if (outcome !== "OK") return `the credential service answers “${outcome ?? "nothing readable"}”`;
  const all = [...root.getElementsByTagNameNS(NAMESPACE, "mediaRelay")];
  const here = all.filter((relay) => text(relay, "location") === location);
  const username = text(root, "username");
  const credential = text(root, "password");
  const servers = [];
  for (const relay of here.length ? here : all) {
    const host = text(relay, "hostName") || text(relay, "directIPAddress");
    const name = host.includes(":") ? `[${host}]` : host;
    for (const transport of ["udp", "tcp"]) {
      const port = text(relay, `${transport}Port`);
      if (port) servers.push({ urls: `turn:${name}:${port}?transport=${transport}`, username, credential });
    }
  }
  if (!servers.length || !username) return "the credential service names no relay";
  return { servers, seconds: 60 * (Number(text(root, "duration")) || MINUTES) };
}

function text(element, name) {
  return element.getElementsByTagNameNS(NAMESPACE, name)[0]?.textContent?.trim() ?? "";
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
