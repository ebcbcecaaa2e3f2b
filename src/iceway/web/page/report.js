// What a peer connection says of itself (W3C WebRTC statistics), in words and levels for people.

/** `{ path, quality, own, peer }`: two sentences, and levels from 0 to 1. */
export async function report(connection, before) {
  const stats = new Map((await connection.getStats()).entries());
  const all = [...stats.values()];
  const audio = all.find((one) => one.type === "inbound-rtp" && one.kind === "audio");
  const source = all.find((one) => one.type === "media-source" && one.kind === "audio");
  const transport = all.find((one) => one.type === "transport" && one.selectedCandidatePairId);
  const pair = stats.get(transport?.selectedCandidatePairId);
  return {
    path: pair ? path(stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)) : "looking for one",
    quality: pair ? quality(stats, audio, pair, before) : "–",
    own: loudness(source?.audioLevel),
    peer: loudness(audio?.audioLevel),
    received: audio?.packetsReceived ?? 0,
    lost: audio?.packetsLost ?? 0,
  };
}

function path(own, peer) {
  if (own?.candidateType === "relay") {
    const [, host, how] = /^turns?:\[?([^\]?]*?)\]?(?::\d+)?(?:\?transport=(\w+))?$/.exec(own.url ?? "") ?? [];
    const over = own.relayProtocol ?? how;
    return `relayed via edge ${host ?? own.address}${over ? ` over ${over.toUpperCase()}` : ""}`;
  }
  if (peer?.candidateType === "relay") return `relayed via the other side's edge ${peer.address ?? ""}`.trim();
  const reflexive = [own, peer].some((one) => one && one.candidateType !== "host");
  return reflexive ? "direct, through a NAT (reflexive)" : "direct";
}

function quality(stats, audio, pair, before) {
  const words = [];
  const codec = stats.get(audio?.codecId)?.mimeType?.split("/")[1];
  if (codec) words.push(codec === "opus" ? "Opus" : codec);
  if (pair.currentRoundTripTime !== undefined)
    words.push(`${Math.max(1, Math.round(pair.currentRoundTripTime * 1000))} ms round trip`);
  if (audio && before) {
    const lost = audio.packetsLost - before.lost;
    const came = audio.packetsReceived - before.received;
    if (came + lost > 0) words.push(lost > 0 ? `${((100 * lost) / (came + lost)).toFixed(1)} % lost` : "nothing lost");
  }
  return words.join(", ") || "–";
}

/** audioLevel is linear; ears are not. From −50 dB to full scale. */
function loudness(level) {
  return level ? Math.min(1, Math.max(0, 1 + (20 * Math.log10(level)) / 50)) : 0;
}
