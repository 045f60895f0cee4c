// Puts what the server sends into the page. Without this script the page is as complete; its reader
// loads it again.
"use strict";

(() => {
  const RETRY_MS = 10000;
  const state = document.getElementById("live");
  const button = document.createElement("button");
  let source = null;
  let retry = 0;
  let paused = false;
  let pending = {};

  function say(text) {
    state.textContent = text;
  }

  // Changes a node into another one of its kind, and leaves alone what did not change: the focus and
  // the place of a screen reader stay.
  function change(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    changeChildren(old, fresh);
  }

  function changeChildren(old, fresh) {
    const wanted = [...fresh.childNodes];
    for (const [at, want] of wanted.entries()) {
      let have = old.childNodes[at];
      if (want.id && (!have || have.id !== want.id)) {
        const known = [...old.children].find((child) => child.id === want.id);
        old.insertBefore(known || document.importNode(want, true), have || null);
        have = old.childNodes[at];
      }
      if (have) change(have, want);
      else old.append(document.importNode(want, true));
    }
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  }

  function show() {
    // Text that somebody is about to copy stays as it is.
    if (!document.getSelection().isCollapsed) return;
    const focused = document.activeElement;
    const parts = pending;
    pending = {};
    for (const [id, html] of Object.entries(parts)) {
      const template = document.createElement("template");
      template.innerHTML = html;
      changeChildren(document.getElementById(id), template.content);
    }
    if (focused && focused.isConnected && document.activeElement !== focused) focused.focus();
  }

  function start() {
    stop();
    if (paused || document.hidden) return;
    say("Connecting");
    source = new EventSource("events" + location.search);
    source.addEventListener("open", () => say("Live"));
    source.addEventListener("parts", (event) => {
      const sent = JSON.parse(event.data);
      document.title = sent.title;
      Object.assign(pending, sent.parts);
      show();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        // The bridge said no, because it has too many viewers.
        say("Not live; trying again");
        retry = setTimeout(start, RETRY_MS);
      } else {
        say("The bridge does not answer; trying again");
      }
    });
  }

  function stop() {
    clearTimeout(retry);
    if (source) source.close();
    source = null;
  }

  button.type = "button";
  button.textContent = "Pause";
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    start();
    if (paused) say("Paused");
  });
  state.after(button);
  document.addEventListener("selectionchange", show);
  // Nothing is read from Redis for a page that nobody sees.
  document.addEventListener("visibilitychange", start);
  start();
})();
