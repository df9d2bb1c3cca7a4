"use strict";
// Asks for this page again and changes what differs: nothing flickers, what is focused,
// selected or folded open stays so.
(() => {
  const PERIOD_MS = 5000;
  const DEADLINE_MS = 15000;
  const note = document.getElementById("refresh");
  let since = new Date();

  const like = (old, fresh) =>
    old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && old.id === fresh.id;

  function attributes(old, fresh) {
    // Whether something is folded open is the reader's to say.
    const own = (name) => name === "open" && old.nodeName === "DETAILS";
    for (const { name, value } of [...fresh.attributes]) {
      if (!own(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!own(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
  }

  function children(old, fresh) {
    const named = new Map();
    for (const child of old.children) if (child.id) named.set(child.id, child);
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const known = child.id ? named.get(child.id) : next;
      if (!known || !like(known, child)) {
        old.insertBefore(child, next);
        continue;
      }
      if (known === next) next = next.nextSibling;
      else old.insertBefore(known, next);
      become(known, child);
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  function become(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    attributes(old, fresh);
    children(old, fresh);
  }

  function say(text) {
    if (note.textContent !== text) note.textContent = text;
    note.hidden = !text;
  }

  async function refresh() {
    const stop = new AbortController();
    const deadline = setTimeout(() => stop.abort(), DEADLINE_MS);
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store", signal: stop.signal });
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = page.querySelector("main");
      if (!main) throw new Error("it answered something else");
      become(document.querySelector("main"), main);
      document.title = page.title;
      since = new Date();
      say("");
    } catch (error) {
      const why = stop.signal.aborted ? "it did not answer in time" : error.message;
      say(`Not refreshed since ${since.toLocaleTimeString()}: ${why}. What is shown may be over.`);
    } finally {
      clearTimeout(deadline);
    }
  }

  async function go() {
    if (!document.hidden) await refresh();
    setTimeout(go, PERIOD_MS);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  setTimeout(go, PERIOD_MS);
})();
