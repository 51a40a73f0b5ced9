// One stream of events for all tabs: over plain HTTP a browser opens six connections to a host, and a stream keeps one.
"use strict";

class SharedStream extends EventTarget {
  readyState = EventSource.OPEN;

  constructor(port) {
    super();
    this.port = port;
    this.waiting = new Set();
    port.onmessage = ({ data }) => (document.hidden ? this.waiting.add(data) : this.tell(data));
    // Nobody looks at a tab in the background: it hears what happened once it is looked at.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      for (const name of this.waiting) this.tell(name);
      this.waiting.clear();
    });
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  }

  tell(name) { this.dispatchEvent(new MessageEvent(name, { data: "changed" })); }

  addEventListener(name, listener, options) {
    super.addEventListener(name, listener, options);
    this.port.postMessage({ hear: name });
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this.port.postMessage({ leave: true });
  }
}

const WORKER = document.currentScript.src.replace("stream.js", "stream-worker.js");
if (window.SharedWorker) htmx.createEventSource = (url) => new SharedStream(new SharedWorker(WORKER, url).port);
