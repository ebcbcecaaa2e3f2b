// SIP's ends and refusals as people would say them.

const ANSWERS = {
  401: "Address or password is wrong.",
  403: "Address or password is wrong.",
  404: "There is nobody of that name here.",
  408: "Nobody answered.",
  423: "The server does not take registrations this short.",
  430: "Their connection has just broken; try again.",
  480: "They are not there at the moment.",
  484: "The address is not complete.",
  486: "They are busy.",
  487: "Called off.",
  488: "Their phone and this one have no way of talking in common.",
  503: "The server cannot help at the moment; try again in a minute.",
  504: "Something on the way does not answer.",
  600: "They are busy.",
  603: "They declined.",
  604: "There is nobody of that name anywhere.",
};
const CAUSES = {
  "Connection Error": "The connection to the server is gone.",
  "Request Timeout": "The server does not answer.",
  "No Answer": "Nobody answered.",
  "RTP Timeout": "No sound came any more.",
  "User Denied Media Access": "This page may not use the microphone. Allow it in the browser's address bar, and call again.",
  "WebRTC Error": "The browser could not set the call up.",
  "Bad Media Description": "Their phone and this one have no way of talking in common.",
  "Incompatible SDP": "Their phone and this one have no way of talking in common.",
  "Missing SDP": "The other phone said nothing about how to talk.",
  "Address Incomplete": "The address is not complete.",
};

/** Why a registration failed. */
export function refused(event) {
  const status = event.response?.status_code;
  if (status === 503) return "The server behind this page is not there at the moment; try again in a minute.";
  return (
    ANSWERS[status] ??
    CAUSES[event.cause] ??
    `The server refuses: ${status ? `${status} ${event.response.reason_phrase}` : event.cause}.`
  );
}

/** Why a call came to nothing, or ended; "" where nothing needs to be said. */
export function ended(event, established) {
  const reason = /;\s*text="([^"]{1,200})"/.exec(event.message?.getHeader?.("Reason") ?? "")?.[1];
  if (event.cause === "Terminated" || event.cause === "Canceled") return established ? "" : (reason ?? "Called off.");
  const status = event.message?.status_code;
  return reason ?? ANSWERS[status] ?? CAUSES[event.cause] ?? `${event.cause}${status ? ` (${status})` : ""}.`;
}

/** Why a device could not be used. */
export function deviceTrouble(error, what) {
  if (error.name === "NotAllowedError") return `This page may not use the ${what}. Allow it in the browser's address bar.`;
  if (error.name === "NotFoundError") return `There is no ${what} on this computer.`;
  if (error.name === "NotReadableError") return `Another program uses the ${what}.`;
  return `The ${what} cannot be used: ${error.message}`;
}

export function clock(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(Math.floor(seconds) % 60)}`;
}

/** One or two letters for a round picture. */
export function initials(name) {
  const parts = name.split(/[\s._-]+/).filter(Boolean);
  return (parts.length > 1 ? parts[0][0] + parts.at(-1)[0] : name.slice(0, 2)).toUpperCase();
}
