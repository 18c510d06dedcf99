// The page for administrators: the door (a token), the house (a list of pages), and which one is open.
// What is open stands behind the # of the address; the token never does.

import { h } from "/app/dom.js";
import { ask, follow, hasToken, keep, whenLocked } from "./api.js";
import { Acts, Alerts, Audit, Settings, SignUps } from "./lists.js";
import { Overview } from "./overview.js";
import { Upgrades } from "./upgrades.js";
import { User, Users } from "./users.js";
import { count, seconds } from "./words.js";

const HISTORY_S = 300;
const app = /** @type {HTMLElement} */ (document.getElementById("app"));

/** @type {[string, string][]} */
const PAGES = [
  ["overview", "Overview"], ["users", "Users"], ["signups", "Sign-ups"], ["alerts", "Alerts"], ["upgrades", "Upgrades"],
  ["audit", "Audit"], ["acts", "Acts"], ["settings", "Settings"],
];

/** @param {string} [problem] */
function door(problem = "") {
  keep("");
  const field = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, maxlength: "200", name: "token" });
  const said = h("p", { class: "problem", role: "alert" }, problem);
  const button = h("button", { class: "primary" }, "Open");
  const form = h("form", { class: "card", onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    keep(field.value.trim());
    try {
      open(await ask("whoami"));
    } catch (error) {
      keep("");
      button.disabled = false;
      const code = /** @type {any} */ (error).code;
      const told = app.querySelector(".problem");
      if (told) told.textContent = code === "not-authorized" ? "This token opens nothing here." : /** @type {Error} */ (error).message;
    }
  } },
  h("label", {}, "Token", field), said, button,
  h("p", { class: "quiet" }, "The root's is in ", h("code", {}, "admin.token"), " in the data folder. Others are made with ", h("code", {}, "whimbrel token create"), "."));
  app.replaceChildren(h("main", { class: "door" }, h("img", { src: "/app/bird.svg", alt: "" }), h("h1", {}, "Whimbrel administration"), form));
  field.focus();
}

/** @param {any} me */
function open(me) {
  new House(me);
}

class House {
  /** @param {any} me who holds the token */
  constructor(me) {
    this.me = me;
    this.stop = new AbortController();
    /** @type {any} */
    this.snapshot = null;
    /** @type {any} */
    this.history = null;
    this.heardAt = 0;
    /** @type {any} */
    this.view = null;
    this.badge = h("span", { class: "badge", hidden: true });
    this.links = PAGES.map(([name, title]) => h("a", { href: `#${name}` }, title, name === "alerts" && this.badge));
    this.domain = h("small", {});
    this.state = h("span", { class: "state off", role: "status" }, "Connecting");
    this.facts = h("span", { class: "facts number" });
    this.heading = h("h1", { tabindex: "-1" });
    this.end = h("span", { class: "end" });
    this.place = h("div", { class: "contents" });
    const out = h("button", { class: "plain", onclick: () => this.leave() }, "Sign out");
    app.replaceChildren(h("div", { class: "house" },
      h("header", { class: "side" },
        h("p", { class: "brand" }, h("img", { src: "/app/bird.svg", alt: "" }), h("span", {}, "Whimbrel", this.domain)),
        h("nav", { "aria-label": "Pages" }, h("ul", {}, ...this.links.map((link) => h("li", {}, link)))),
        h("div", { class: "who" }, h("span", {}, `${me.name}, may ${me.scopes.join(", ")}`), out)),
      h("main", {}, h("header", {}, this.heading, this.state, this.facts, this.end), this.place)));
    whenLocked(() => this.leave("This token is good no more."));
    addEventListener("hashchange", this.turn = () => this.go());
    this.go();
    follow({
      history: (data) => { this.history = data; },
      snapshot: (data) => this.take(data),
      offline: (why) => this.offline(why),
    }, this.stop.signal);
  }

  /** The server's clock, for "ago". */
  now() {
    return this.snapshot ? this.snapshot.at_us + (performance.now() - this.heardAt) * 1000 : Date.now() * 1000;
  }

  /** @param {string} scope */
  may(scope) {
    return this.me.scopes.includes(scope);
  }

  go() {
    const [name, rest] = location.hash.slice(1).split("/");
    const word = rest ? decode(rest) : "";
    this.view?.leave?.();
    this.view = name === "users" ? (word ? new User(this, word) : new Users(this))
      : name === "signups" ? new SignUps(this)
      : name === "alerts" ? new Alerts()
      : name === "upgrades" ? new Upgrades(this)
      : name === "audit" ? new Audit(this, word)
      : name === "acts" ? new Acts()
      : name === "settings" ? new Settings(this)
      : new Overview();
    const here = PAGES.some(([known]) => known === name) ? name : "overview";
    for (const link of this.links) {
      if (link.getAttribute("href") === `#${here}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.heading.textContent = this.view.title;
    document.title = `${this.view.title} – Whimbrel`;
    this.end.replaceChildren(...(this.view.buttons ?? []).filter(Boolean));
    this.place.replaceChildren(this.view.node);
    if (this.snapshot && this.history) this.view.show?.(this.snapshot, this.history);
    if (this.went) this.heading.focus();
    this.went = true;
    scrollTo(0, 0);
  }

  /** @param {any} now */
  take(now) {
    this.snapshot = now;
    this.heardAt = performance.now();
    if (now.at_us > this.history.at_us) this.history = grown(this.history, now);
    this.domain.textContent = now.domain;
    this.state.className = now.ready ? "state" : "state bad";
    say(this.state, now.ready ? "Ready" : `Not ready: ${now.reason}`);
    say(this.facts, `up ${seconds(now.uptime_s)}${now.upgrade ? ` · upgrade: ${now.upgrade}` : ""} · version ${now.version}`);
    this.badge.hidden = !now.alerts.length;
    say(this.badge, count(now.alerts.length));
    this.view.show?.(now, this.history);
  }

  /** @param {string} why */
  offline(why) {
    this.state.className = "state off";
    say(this.state, why);
  }

  leave(problem = "") {
    this.stop.abort();
    this.view?.leave?.();
    if (this.turn) removeEventListener("hashchange", this.turn);
    whenLocked(() => {});
    history.replaceState(null, "", location.pathname);
    door(problem);
  }
}

/** Only what changed: else a screen reader would say it every second. @param {HTMLElement} node @param {string} text */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** The history with one second more. @param {any} history @param {any} now */
function grown(history, now) {
  const news = {
    accepted_per_s: now.traffic.accepted_per_s, delivered_per_s: now.traffic.delivered_per_s,
    turn_p99_ms: now.turn.p99_ms, commit_p99_ms: now.commit.p99_ms, lag_max_ms: now.lag.max_ms,
    queue_length: now.queues.find((/** @type {any} */ q) => q.name === "turns")?.length ?? 0,
    cpu_percent: now.machine.cpu_percent, sessions: now.sessions,
  };
  const columns = Object.entries(news).map(([name, value]) => [name, [...history[name], value].slice(-HISTORY_S)]);
  return { at_us: now.at_us, ...Object.fromEntries(columns) };
}

whenLocked(() => {});
if (hasToken()) ask("whoami").then(open, (error) => door(error.status === 401 ? "" : error.message));
else door();
