"""What a page hears, as samples to compare with what was said."""

from __future__ import annotations

import base64

import numpy as np
from playwright.async_api import Page

from iceway.media.sound import Samples

# 48 kHz, mono.
_LISTEN = """
async (id) => {
  const context = new AudioContext({sampleRate: 48000});
  await context.resume();
  const keeper = context.createScriptProcessor(4096, 1, 1);
  const heard = window.heard = [];
  keeper.onaudioprocess = (event) => heard.push(new Float32Array(event.inputBuffer.getChannelData(0)));
  context.createMediaStreamSource(document.getElementById(id).srcObject).connect(keeper);
  keeper.connect(context.destination);
}
"""
_HEARD = """
() => {
  const words = new Int16Array(heard.length * 4096);
  heard.forEach((piece, at) => piece.forEach((one, inside) => { words[at * 4096 + inside] = one * 32767; }));
  let text = "";
  for (const byte of new Uint8Array(words.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}
"""


async def listen(page: Page, element: str) -> None:
    """Keep what comes to an audio element from now on, once there is something."""
    await page.wait_for_function(
        "(id) => document.getElementById(id).srcObject?.getAudioTracks().length", arg=element
    )
    await page.evaluate(_LISTEN, element)


async def heard(page: Page) -> Samples:
    """What has come since."""
    return np.frombuffer(base64.b64decode(await page.evaluate(_HEARD)), np.int16)
