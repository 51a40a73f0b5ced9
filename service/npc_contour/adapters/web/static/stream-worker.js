// Holds the one stream of events and tells each tab what it wants to hear; the worker's name is the stream's address.
"use strict";

const AGAIN_MS = 5000;
const tabs = new Map();
let stream = null;

function tell(name) {
  for (const [port, names] of tabs) if (names.has(name)) port.postMessage(name);
}

function hear(name) {
  if (stream && !stream.heard.has(name)) stream.addEventListener(name, () => tell(name));
  stream?.heard.add(name);
}

function open(again) {
  stream = new EventSource(self.name);
  stream.heard = new Set();
  const names = new Set([...tabs.values()].flatMap((some) => [...some]));
  names.forEach(hear);
  // What happened while there was no stream was not heard: every tab asks again.
  let late = again;
  stream.onopen = () => { if (late) names.forEach(tell); late = true; };
  stream.onerror = () => {
    if (stream?.readyState !== EventSource.CLOSED) return;
    stream = null;
    setTimeout(() => { if (tabs.size && !stream) open(true); }, AGAIN_MS);
  };
}

self.onconnect = ({ ports: [port] }) => {
  tabs.set(port, new Set());
  port.onmessage = ({ data }) => {
    if (data.leave) {
      tabs.delete(port);
      if (!tabs.size) { stream?.close(); stream = null; }
      return;
    }
    tabs.get(port)?.add(data.hear);
    hear(data.hear);
  };
  if (!stream) open(false);
};
