// Sign-ups, alerts, audit and traces, acts, and the configuration with the tokens.

import { h } from "/app/dom.js";
import { ask } from "./api.js";
import { confirm, tell, toast } from "./dialogs.js";
import { alertCard, facts } from "./overview.js";
import { account, Table } from "./table.js";
import { ago, compact, count, seconds, when } from "./words.js";

/** @typedef {{ may: (scope: string) => boolean, now: () => number }} House */

const AGAIN_MS = 3000;
const WHY = /** @type {Record<string, string>} */ ({
  closed: "closed by an administrator", wrong: "too many wrong PINs today", pins: "too many PINs today", wait: "has to wait for the next PIN",
});
const GOOD = ["sent", "right", "ok"];

/** @param {string} result */
function tag(result) {
  return h("span", { class: `tag ${GOOD.includes(result) ? "good" : "warn"}` }, result);
}

/** A view that asks again every few seconds. */
export class Asking {
  constructor() {
    this.problem = h("p", { class: "problem", role: "alert" });
    this.timer = setInterval(() => this.again(), AGAIN_MS);
    queueMicrotask(() => this.again());
  }

  async again() {
    try {
      await this.load();
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = /** @type {Error} */ (error).message;
    }
  }

  async load() {}

  leave() {
    clearInterval(this.timer);
  }
}

export class SignUps extends Asking {
  title = "Sign-ups";

  /** @param {House} house */
  constructor(house) {
    super();
    this.facts = h("dl", { class: "dl" });
    this.locks = new Table("Who is refused", [
      { title: "whom", cell: (l) => l.whom || "everybody", kind: "text" },
      { title: "why", cell: (l) => WHY[l.why] ?? l.why, kind: "text" },
      { title: "until", cell: (l) => (l.until_us ? when(l.until_us) : "it is opened"), kind: "when wide" },
      { title: "act", cell: (l) => (l.why === "closed" && house.may("users") ? h("button", { class: "plain", "aria-label": `Open sign-up for ${l.whom}`, onclick: () => this.open(l.whom) }, "Open") : "") },
    ], (l) => `${l.whom} ${l.why}`, "Nobody.");
    this.attempts = new Table("The last attempts", [
      { title: "when", cell: (a) => when(a.at_us), kind: "when" },
      { title: "number", cell: (a) => a.number, kind: "text" },
      { title: "asked for", cell: (a) => (a.what === "pin" ? "a PIN" : "the account"), kind: "text wide" },
      { title: "result", cell: (a) => tag(a.result) },
      { title: "from", cell: (a) => a.client, kind: "text wide" },
    ], (a) => `${a.at_us} ${a.what}`, "None since the server's start.");
    this.field = h("input", { type: "tel", placeholder: "+49 151 …", autocomplete: "off", maxlength: "64", required: true });
    const closing = h("form", { class: "inline", onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      try {
        await ask(`signups/closed/${encodeURIComponent(compact(this.field.value))}`, { method: "PUT" });
        this.field.value = "";
        await this.again();
      } catch (error) {
        this.problem.textContent = /** @type {Error} */ (error).message;
      }
    } }, h("label", {}, "Refuse sign-up to a number", this.field), h("button", { class: "plain" }, "Close it"));
    this.node = h("div", { class: "contents" }, this.problem,
      h("section", { class: "card" }, this.facts),
      h("section", { class: "card" }, house.may("users") && closing, this.locks.node),
      h("section", { class: "card" }, this.attempts.node));
  }

  /** @param {string} number */
  async open(number) {
    await ask(`signups/closed/${encodeURIComponent(number)}`, { method: "DELETE" }).catch((error) => toast(error.message));
    await this.again();
  }

  async load() {
    const found = await ask("signups");
    facts(this.facts, [
      ["PINs sent today", count(found.pins_today)],
      ["Wrong PINs today", `${count(found.wrong_today)} while a good one was on its way`],
      ["Numbers remembered", count(found.numbers)],
    ]);
    this.locks.show(found.locks);
    this.attempts.show(found.attempts);
  }
}

export class Alerts extends Asking {
  title = "Alerts";

  constructor() {
    super();
    this.active = h("div", { class: "contents" });
    this.history = new Table("What has changed", [
      { title: "when", cell: (a) => when(a.at_s * 1e6), kind: "when" },
      { title: "change", cell: (a) => h("span", { class: `tag ${a.active ? (a.severity === "critical" ? "bad" : "warn") : "good"}` }, a.active ? "fired" : `cleared after ${seconds(a.at_s - a.since_s)}`) },
      { title: "whose", cell: (a) => account(a.owner), kind: "text wide" },
      { title: "what", cell: (a) => a.text, kind: "text" },
      { title: "likely cause", cell: (a) => a.cause, kind: "text wide" },
    ], (a) => `${a.name} ${a.at_s} ${a.active}`, "No alert since the server's start.");
    this.node = h("div", { class: "contents" }, this.problem, this.active, h("section", { class: "card" }, this.history.node));
  }

  async load() {
    const found = await ask("alerts");
    const cards = found.active.map(alertCard);
    this.active.replaceChildren(...(cards.length ? cards : [h("p", { class: "card" }, h("span", { class: "state" }, "All is well"))]));
    this.history.show(found.history.reverse());
  }
}

export class Audit extends Asking {
  title = "Audit";

  /** @param {House} house @param {string} id of a message */
  constructor(house, id) {
    super();
    this.house = house;
    this.facts = h("dl", { class: "dl" });
    this.classes = new Table("Where all messages are", [
      { title: "where", cell: ([name]) => name, kind: "text" },
      { title: "messages", cell: ([, n]) => count(n), kind: "n" },
    ], ([name]) => name, "There was no audit yet since the start.");
    this.findings = new Table("What it cannot explain", [
      { title: "message", cell: (f) => (f.id ? h("a", { href: `#audit/${f.id}` }, String(f.id)) : ""), kind: "n" },
      { title: "what", cell: (f) => f.what, kind: "text" },
    ], (f) => `${f.id} ${f.what} ${f.recipient}`, "");
    this.field = h("input", { inputmode: "numeric", pattern: "[0-9]{1,16}", maxlength: "16", required: true, value: id });
    this.traces = h("div", { class: "contents" });
    const form = h("form", { class: "inline", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      location.hash = `audit/${this.field.value}`;
      this.trace(this.field.value);
    } }, h("label", {}, "A message's number, as logs and lists show it", this.field), h("button", { class: "plain" }, "Trace it"));
    this.node = h("div", { class: "contents" }, this.problem,
      h("div", { class: "pair" }, h("section", { class: "card" }, this.facts, this.classes.node), h("section", { class: "card" }, this.findings.node)),
      h("section", { class: "card" }, h("h2", {}, "Where is a message?"), form, this.traces));
    if (id) this.trace(id);
  }

  get buttons() {
    if (!this.house.may("operate")) return [];
    return [h("button", { class: "plain", onclick: async () => {
      const { started } = await ask("audit", { method: "POST" }).catch((error) => (toast(error.message), { started: null }));
      if (started !== null) toast(started ? "The audit has begun." : "An audit is under way already.");
      await this.again();
    } }, "Audit now")];
  }

  async load() {
    const found = await ask("audit");
    const last = found.at_us ? `${ago(found.at_us, this.house.now())}, in ${seconds(found.took_s)}` : "not yet since the start";
    facts(this.facts, [
      ["Last audit", last],
      ["Unexplained", h("strong", { class: found.unexplained ? "problem" : "" }, `${count(found.unexplained)} of ${count(found.messages)} messages`)],
      ["Accounts", count(found.accounts)],
    ]);
    this.findings.nothing.textContent = found.at_us ? "Nothing: every message is where it must be." : "There was no audit yet since the start.";
    this.classes.show(Object.entries(found.classes));
    this.findings.show(found.findings);
  }

  /** @param {string} id */
  async trace(id) {
    try {
      const { messages } = await ask(`traces/${encodeURIComponent(id)}`);
      this.traces.replaceChildren(...messages.map((/** @type {any} */ one) => h("div", { class: "contents" },
        h("p", {}, account(one.sender), " to ", account(one.recipient), h("span", { class: "quiet" }, `, device ${one.device}, its number ${one.c}`)),
        h("ol", { class: "steps" }, ...one.lines.map((/** @type {any} */ line) => h("li", {},
          h("time", { class: "quiet number" }, line.at_us ? when(line.at_us) : ""), h("span", {}, h("strong", {}, line.what), " ", h("span", { class: "quiet" }, line.more))))))));
    } catch (error) {
      const text = /** @type {any} */ (error).status === 404 ? "Nobody has sent such a message, or its traces are gone." : /** @type {Error} */ (error).message;
      this.traces.replaceChildren(h("p", { class: "problem", role: "alert" }, text));
    }
  }
}

export class Acts extends Asking {
  title = "Acts";

  constructor() {
    super();
    /** @type {any[]} */
    this.older = [];
    this.before = 0;
    this.table = new Table("What administrators did", [
      { title: "when", cell: (a) => when(a.at_us), kind: "when" },
      { title: "who", cell: (a) => a.who, kind: "text" },
      { title: "what", cell: (a) => a.what, kind: "text" },
      { title: "on", cell: (a) => a.on, kind: "text" },
      { title: "result", cell: (a) => tag(a.result) },
      { title: "from", cell: (a) => a.source, kind: "text wide" },
    ], (a) => String(a.id), "Nothing yet.");
    this.more = h("button", { class: "plain", onclick: () => this.page() }, "Older ones");
    this.more.hidden = true;
    this.node = h("div", { class: "contents" }, this.problem, h("section", { class: "card" }, this.table.node, this.more));
  }

  async load() {
    const page = await ask("acts?limit=50");
    if (!this.older.length) {
      this.before = page.next;
      this.more.hidden = !page.next;
    }
    const oldest = page.acts.at(-1)?.id ?? 0;
    this.table.show([...page.acts, ...this.older.filter((act) => act.id < oldest)]);
  }

  async page() {
    const page = await ask(`acts?limit=50&before=${this.before}`).catch((error) => (toast(error.message), null));
    if (!page) return;
    this.older = [...this.older, ...page.acts];
    this.before = page.next;
    this.more.hidden = !page.next;
    await this.again();
  }
}

export class Settings extends Asking {
  title = "Settings";

  /** @param {House} house */
  constructor(house) {
    super();
    this.house = house;
    /** @type {[string, string][]} */
    this.all = [];
    this.field = h("input", { type: "search", autocomplete: "off", oninput: () => this.narrow() });
    this.table = new Table("Configuration and limits in force", [
      { title: "key", cell: ([key]) => key, kind: "text" },
      { title: "value", cell: ([, value]) => value || "–", kind: "text" },
    ], ([key]) => key, "No key has this in its name.");
    this.tokens = new Table("Tokens", [
      { title: "name", cell: (t) => t.name, kind: "text" },
      { title: "scopes", cell: (t) => t.scopes.join(", "), kind: "text" },
      { title: "until", cell: (t) => (t.expires_us ? when(t.expires_us) : "revoked"), kind: "when wide" },
      { title: "last used", cell: (t) => (t.last_used_us ? ago(t.last_used_us, house.now()) : "–"), kind: "n wide" },
      { title: "by", cell: (t) => t.by, kind: "text wide" },
      { title: "act", cell: (t) => h("button", { class: "plain danger", "aria-label": `Revoke ${t.name}`, onclick: () => this.revoke(t.name) }, "Revoke") },
    ], (t) => t.name, "None besides the root's, which is in admin.token.");
    this.name = h("input", { pattern: "[a-z0-9][a-z0-9._\\-]{0,39}", maxlength: "40", required: true, autocomplete: "off", placeholder: "grafana" });
    this.days = h("input", { type: "number", min: "0", max: "3650", value: "90", required: true });
    this.scopes = ["read", "users", "operate", "admin"].map((scope) => h("input", { type: "checkbox", value: scope, checked: scope === "read" }));
    const form = h("form", { class: "inline", onsubmit: (/** @type {Event} */ event) => this.create(event) },
      h("label", {}, "New token, for", this.name), h("label", {}, "Days (0: for ever)", this.days),
      h("fieldset", {}, h("legend", {}, "It may"), ...this.scopes.map((box) => h("label", { class: "tick" }, box, box.value))),
      h("button", { class: "plain" }, "Create"));
    this.node = h("div", { class: "contents" }, this.problem,
      house.may("admin") && h("section", { class: "card" }, this.tokens.node, form),
      h("section", { class: "card" }, h("label", {}, "Keys with", this.field), this.table.node));
  }

  async load() {
    if (this.house.may("admin")) this.tokens.show((await ask("tokens")).tokens);
    if (this.all.length) return;
    this.all = Object.entries((await ask("settings")).settings);
    this.narrow();
  }

  narrow() {
    const wanted = this.field.value.trim().toLowerCase();
    this.table.show(this.all.filter(([key]) => key.toLowerCase().includes(wanted)));
  }

  /** @param {Event} event */
  async create(event) {
    event.preventDefault();
    const scopes = this.scopes.filter((box) => box.checked).map((box) => box.value);
    try {
      const made = await ask("tokens", { method: "POST", body: { name: this.name.value, scopes: scopes.length ? scopes : ["read"], days: Number(this.days.value) } });
      tell("The token", [["For", made.name], ["It may", made.scopes.join(", ")]], made.token);
      this.name.value = "";
      await this.again();
    } catch (error) {
      this.problem.textContent = /** @type {Error} */ (error).message;
    }
  }

  /** @param {string} name */
  revoke(name) {
    confirm("Revoke the token", `${name} is worthless at once, wherever it is used.`, "Revoke", async () => {
      await ask(`tokens/${encodeURIComponent(name)}`, { method: "DELETE" });
      await this.again();
    });
  }
}
