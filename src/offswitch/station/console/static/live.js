// The console's only script. Without it every page is useful; with it pages move by themselves
// (server-sent events), STOP is a press held 400 ms on pointers or one chord on keys, and a page
// that hears nothing says NOT LIVE over its whole face. In a worker it is but a clock, since
// browsers slow the clocks of pages in the background.
"use strict";
if (typeof document === "undefined") setInterval(() => postMessage(0), 500);
else begin();

function begin() {
  const HOLD_MS = 400, DEAD_MS = 2200, AGAIN_MS = 700;
  const root = document.documentElement, body = document.body;
  const $ = (id) => document.getElementById(id);
  root.classList.add("script");
  localise(body);
  if (!body.dataset.view) return;

  // --- the feed ---------------------------------------------------------------------
  const title = document.title;
  let feed = null, heard = performance.now(), serverLive = body.dataset.live === "yes", why = "", ended = false;
  let skew = 0;

  function follow() {
    if (feed) feed.close();
    ended = false;
    const { view, scope, about, mark } = body.dataset;
    feed = new EventSource("/events?" + new URLSearchParams({ view, scope, about, mark }));
    feed.addEventListener("patch", (e) => { heard = performance.now(); patch(JSON.parse(e.data)); });
    feed.addEventListener("beat", (e) => {
      const said = JSON.parse(e.data);
      heard = performance.now(); serverLive = said.live; why = said.why; skew = said.time_us / 1000 - Date.now();
      body.dataset.mark = said.mark;
      check();
    });
    feed.addEventListener("end", (e) => {
      ended = true; why = JSON.parse(e.data).why; feed.close(); check();
    });
    feed.onerror = () => check();
  }

  function check() {
    const silent = performance.now() - heard > DEAD_MS;
    const live = !silent && !ended && serverLive;
    if (silent && feed && !ended && performance.now() - began > AGAIN_MS * 3) { began = performance.now(); follow(); }
    if ((body.dataset.live === "yes") !== live) {
      body.dataset.live = live ? "yes" : "no";
      document.title = live ? title : "NOT LIVE · " + title;
    }
    body.dataset.lost = silent || ended ? "feed" : "";
    if (!live) {
      const since = new Date(Date.now() - (performance.now() - heard)).toISOString().slice(11, 19);
      const text = ended ? `The feed has ended: ${why}. Load the page again.`
        : silent ? `The station has said nothing since ${since} UTC. What is below was true then; it may not be now.`
        : `The warden is silent: ${why}. What is below was true before; it may not be now.`;
      if ($("not-live-why").textContent !== text) $("not-live-why").textContent = text;
      const still = serverLive || silent || ended
        ? "STOP still works: it is sent again and again until the station hears it. Surest now, at the machine: offswitch stop --all"
        : "STOP still works: the press goes to warden, keeper and spool.";
      if ($("still").textContent !== still) $("still").textContent = still;
    }
  }
  let began = performance.now();
  follow();
  setInterval(check, 500);
  try { new Worker(body.dataset.watch).onmessage = check; } catch { /* the page's own clock must do */ }
  for (const name of ["visibilitychange", "pageshow", "focus", "online"]) {
    addEventListener(name, () => {
      if (ended && !document.hidden && why !== "signed out") { heard = performance.now(); follow(); }
      check();
    }, true);
  }

  // --- patches ----------------------------------------------------------------------
  function made(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  }
  function patch(said) {
    for (const [name, ids] of Object.entries(said.lists)) {
      const list = $(name);
      if (!list) continue;
      const wanted = new Set(ids);
      for (const each of [...list.children]) if (!wanted.has(each.id)) each.remove();
      let at = list.firstElementChild;
      for (const id of ids) {
        const known = $(id);
        if (known && known.parentElement === list) {
          if (known === at) at = at.nextElementSibling; else list.insertBefore(known, at);
        } else if (said.set[id]) {
          if (known) known.remove();
          list.insertBefore(localise(made(said.set[id])), at);
        }
      }
    }
    for (const [id, html] of Object.entries(said.set)) {
      const old = $(id);
      if (old) { morph(old, localise(made(html))); }
    }
    load(); tick();
  }
  // Makes an element like another without replacing what is held, focused, open or typed into.
  function morph(old, now) {
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || (now.id && old.id !== now.id)) return old.replaceWith(now);
    if (old.nodeType !== 1) { if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue; return; }
    for (const { name } of [...old.attributes]) {
      if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of [...now.attributes]) {
      if (name === "class") {
        const kept = ["held", "sent"].filter((each) => old.classList.contains(each));
        old.className = [value, ...kept].join(" ");
      } else if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.hasAttribute("data-load")) return;
    const children = [...now.childNodes];
    while (old.childNodes.length > children.length) old.lastChild.remove();
    children.forEach((child, at) => at < old.childNodes.length ? morph(old.childNodes[at], child) : old.append(child));
  }
  // What is not in the feed is fetched anew when its address changes.
  const loaded = new Map();
  function load() {
    for (const place of document.querySelectorAll("[data-load]")) {
      const url = place.dataset.load;
      if ((loaded.get(place.id) ?? place.dataset.loaded) === url) continue;
      loaded.set(place.id, url);
      fetch(url, { headers: { accept: "text/html" } }).then(async (got) => {
        if (got.ok && loaded.get(place.id) === url) { place.innerHTML = await got.text(); localise(place); }
      }).catch(() => loaded.delete(place.id));
    }
  }

  // --- times ------------------------------------------------------------------------
  function localise(within) {
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime), span = time.querySelector(".local");
      if (span && !isNaN(at) && at.getTimezoneOffset()) span.textContent = ` (${at.toLocaleTimeString()} here)`;
    }
    return within;
  }
  function tick() {
    for (const each of document.querySelectorAll("[data-due]")) {
      const left = Math.round(each.dataset.due / 1e6 - (Date.now() + skew) / 1000);
      const words = left > 0 ? `in ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "now";
      if (each.textContent !== words) each.textContent = words;
    }
  }
  tick(); setInterval(tick, 1000);

  // --- STOP -------------------------------------------------------------------------
  const form = $("stop-form"), said = $("said");
  const stop = () => $("stop");
  let hold = null;
  const say = (text) => { if (said.textContent !== text) said.textContent = text; };

  function release(early) {
    if (!hold) return;
    clearTimeout(hold.timer); hold = null;
    stop().classList.remove("held");
    if (early) say("Nothing was stopped: hold the button for 0.4 s, until it is full.");
  }
  document.addEventListener("pointerdown", (e) => {
    const button = e.target.closest("#stop");
    if (!button || button.disabled || e.button > 0) return;
    button.setPointerCapture?.(e.pointerId);
    button.classList.add("held");
    say("");
    hold = { id: e.pointerId, at: e.timeStamp, timer: setTimeout(() => { release(false); press(); }, HOLD_MS) };
  });
  document.addEventListener("pointerup", (e) => {
    if (!hold || hold.id !== e.pointerId) return;
    const whole = e.timeStamp - hold.at >= HOLD_MS;
    release(!whole);
    if (whole) press();
  });
  document.addEventListener("pointercancel", () => release(true));
  document.addEventListener("pointermove", (e) => {
    if (!hold || hold.id !== e.pointerId) return;
    const box = stop().getBoundingClientRect();
    if (e.clientX < box.left || e.clientX > box.right || e.clientY < box.top || e.clientY > box.bottom) release(true);
  });
  document.addEventListener("contextmenu", (e) => { if (e.target.closest("#stop")) e.preventDefault(); });
  // A click that no pointer made is Enter, Space, or a screen reader: it stops at once.
  form.addEventListener("submit", (e) => e.preventDefault());
  document.addEventListener("click", (e) => {
    const button = e.target.closest("#stop");
    if (!button) return;
    e.preventDefault();
    if (!e.pointerType && !e.detail) press();
  });
  document.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && e.ctrlKey && e.shiftKey && !e.altKey && !e.metaKey) {
      e.preventDefault(); e.stopPropagation();
      if (!e.repeat && !stop().disabled) press();
    }
  }, true);

  let pressing = false;
  async function press() {
    if (pressing) return;
    pressing = true;
    const what = stop().querySelector(".what").textContent;
    stop().classList.add("sent");
    say(`${what}: sent…`);
    const end = performance.now() + 60000;
    while (performance.now() < end) {
      try {
        const got = await fetch("/stop", {
          method: "POST", body: new URLSearchParams(new FormData(form)), keepalive: true, priority: "high",
          headers: { accept: "application/json" }, signal: AbortSignal.timeout(3000),
        });
        const answer = await got.json();
        if (got.status >= 500) throw new Error(answer.detail);
        if (!got.ok) say(`${what}: REFUSED: ${answer.detail}. ${answer.hint}`);
        else { say(`${what}: COMMANDED.`); watch(answer.press, what); }
        break;
      } catch {
        say(`${what}: NOT SENT, the station does not answer; trying again. At the machine: offswitch stop ${form.scope.value === "/" ? "--all" : form.scope.value}`);
        await new Promise((done) => setTimeout(done, 500));
      }
    }
    pressing = false;
    setTimeout(() => stop().classList.remove("sent"), 1500);
  }
  // The feed tells what becomes of it; if the feed is lost, we ask.
  async function watch(id, what) {
    for (let tries = 0; tries < 120; tries++) {
      await new Promise((done) => setTimeout(done, 250));
      if ($("press").dataset.press === id && body.dataset.live === "yes") { say(""); return; }
      try {
        const got = await fetch(`/stopped/${id}?part=press`, { headers: { accept: "text/html" } });
        if (got.ok) morph($("press"), localise(made(await got.text())));
        if ($("press").dataset.done) { say(""); return; }
      } catch { say(`${what}: COMMANDED. What became of it is not known: the station does not answer.`); }
    }
  }
}
