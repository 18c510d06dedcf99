// Accounts: found by how they begin, and one of them as its actor is now.

import { h } from "/app/dom.js";
import { ask } from "./api.js";
import { confirm, prompt, tell, toast } from "./dialogs.js";
import { facts } from "./overview.js";
import { account, Table } from "./table.js";
import { ago, compact, count, FRONTS, seconds, size, when } from "./words.js";

const PAGE = 50;
const WAIT_MS = 200;
const AGAIN_MS = 3000;
const WAITS = /** @type {Record<string, string>} */ ({
  ready: "waits for its next message", asleep: "is not in memory; a message wakes it",
  loading: "waits for a read from the database", waiting: "waits for a commit before it may read",
  paused: "rests, because it crashed too often",
});

/** @param {any} made @param {string} title */
function showKey(made, title) {
  tell(title, [["Account", made.account], ["Device", String(made.device)]], made.key);
}

export class Users {
  title = "Users";

  /** @param {{ may: (scope: string) => boolean, now: () => number }} house */
  constructor(house) {
    this.house = house;
    this.next = "";
    /** @type {any[]} */
    this.found = [];
    this.round = 0;
    this.field = h("input", { type: "search", placeholder: "+49 151 … or a name", autocomplete: "off", spellcheck: "false", maxlength: "64", oninput: () => this.soon() });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.table = new Table("Accounts", [
      { title: "account", cell: (u) => account(u.address), kind: "text" },
      { title: "waiting", cell: (u) => count(u.waiting), kind: "n" },
      { title: "last seen", cell: (u) => ago(u.last_seen_us, house.now()), kind: "n" },
      { title: "since", cell: (u) => when(u.created_us), kind: "when wide" },
    ], (u) => u.address, "No account begins so.");
    this.more = h("button", { class: "plain", onclick: () => this.load(true) }, "More");
    const add = h("button", { class: "primary", onclick: () => prompt("New account", "A name or a number", "Create", async (text) => {
      showKey(await ask("users", { method: "POST", body: { address: compact(text) } }), "The account's key");
      await this.load();
    }) }, "New account");
    this.node = h("div", { class: "contents" }, h("section", { class: "card" },
      h("div", { class: "search" }, h("label", {}, "Accounts that begin with", this.field), house.may("users") && add),
      this.problem, this.table.node, this.more));
    this.more.hidden = true;
    this.load();
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), WAIT_MS);
  }

  async load(more = false) {
    const round = ++this.round;
    const query = new URLSearchParams({ prefix: this.field.value.trim() ? compact(this.field.value) : "", after: more ? this.next : "", limit: String(PAGE) });
    try {
      const page = await ask(`users?${query}`);
      if (round !== this.round) return;
      this.found = more ? [...this.found, ...page.users] : page.users;
      this.next = page.next;
      this.more.hidden = !page.next;
      this.table.show(this.found);
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = /** @type {Error} */ (error).message;
    }
  }
}

export class User {
  /** @param {{ may: (scope: string) => boolean, now: () => number }} house @param {string} address */
  constructor(house, address) {
    this.house = house;
    this.address = address;
    this.title = address;
    this.back = "users";
    this.facts = h("dl", { class: "dl" });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.devices = new Table("Devices and sessions", [
      { title: "device", cell: (d) => d.device, kind: "n" },
      { title: "name", cell: (d) => (d.kind === "own" ? d.name : `${d.name} (${d.kind})`), kind: "text" },
      { title: "has", cell: (d) => (d.confirmed < 0 ? "–" : count(d.confirmed)), kind: "n wide" },
      { title: "session", cell: (d) => this.session(d), kind: "text" },
      { title: "program", cell: (d) => d.session?.agent ?? "", kind: "text wide" },
      { title: "from", cell: (d) => d.session?.address ?? "", kind: "text wide" },
      { title: "act", cell: (d) => this.end(d) },
    ], (d) => String(d.device), "It has no device.");
    this.sends = new Table("Open sends", [
      { title: "message", cell: (s) => h("a", { href: `#audit/${s.id}` }, String(s.id)), kind: "n" },
      { title: "to", cell: (s) => account(s.peer), kind: "text" },
      { title: "tries", cell: (s) => s.attempts, kind: "n" },
      { title: "next", cell: (s) => (s.retry_in_s ? `in ${seconds(s.retry_in_s)}` : "queued"), kind: "n" },
      { title: "accepted", cell: (s) => ago(s.accepted_us, house.now()), kind: "n wide" },
    ], (s) => String(s.id), "Every message it sent was taken by its recipient's actor.");
    this.body = h("div", { class: "contents" },
      h("section", { class: "card" }, this.facts),
      h("section", { class: "card" }, this.devices.node),
      h("section", { class: "card" }, this.sends.node));
    this.node = h("div", { class: "contents" }, this.problem, this.body);
    this.timer = setInterval(() => this.load(), AGAIN_MS);
    this.load();
  }

  /** What may be done, for who may. */
  get buttons() {
    if (!this.house.may("users")) return [];
    const { address } = this;
    const path = `users/${encodeURIComponent(address)}`;
    const closing = address.startsWith("+") && h("button", { class: "plain", onclick: () => confirm("Close sign-up", `Nobody can sign up with ${address} any more, until you open it again. Whoever is signed in stays.`, "Close", async () => {
      await ask(`signups/closed/${encodeURIComponent(address)}`, { method: "PUT" });
      toast("Sign-up is closed for this number.");
    }) }, "Close sign-up");
    return [
      closing,
      h("button", { class: "plain", onclick: () => confirm("New key", `All devices of ${address} are signed out, and its keys are worthless at once.`, "Make a new key", async () => {
        showKey(await ask(`${path}/reset`, { method: "POST" }), "The new key");
        await this.load();
      }) }, "New key"),
      h("button", { class: "plain danger", onclick: () => confirm("Delete the account", `${address} and everything that waits for it is gone for good.`, "Delete", async () => {
        await ask(path, { method: "DELETE" });
        location.hash = "users";
        toast(`${address} is deleted.`);
      }) }, "Delete"),
    ];
  }

  /** @param {any} device */
  session(device) {
    const { session } = device;
    if (!session) return device.last_seen_us ? `seen ${ago(device.last_seen_us, this.house.now())}` : "never here";
    if (session.waiting) return "its line is lost; it may come back";
    const unread = session.unsent_bytes ? `, ${size(session.unsent_bytes)} not read` : "";
    return `${FRONTS[session.front] ?? session.front}, for ${seconds(session.connected_s)}${unread}`;
  }

  /** @param {any} device */
  end(device) {
    if (!device.session || !this.house.may("users")) return "";
    return h("button", { class: "plain", "aria-label": `Disconnect device ${device.device}`, onclick: async () => {
      try {
        await ask(`users/${encodeURIComponent(this.address)}/sessions/${device.device}`, { method: "DELETE" });
        toast("The session has ended; the device may come back.");
        await this.load();
      } catch (error) {
        toast(/** @type {Error} */ (error).message);
      }
    } }, "Disconnect");
  }

  async load() {
    try {
      const found = await ask(`users/${encodeURIComponent(this.address)}`);
      const actor = found.actor ?? { status: "asleep", mailbox: 0, needs: 0, alarm_in_s: -1 };
      const now = this.house.now();
      facts(this.facts, [
        ["Since", when(found.created_us)],
        ["Last seen", found.devices.some((/** @type {any} */ d) => d.session && !d.session.waiting) ? "here now" : ago(found.last_seen_us, now)],
        ["Inbox", `${count(found.waiting)} waiting, last number ${count(found.tail)}`],
        ["Open sends", `${count(found.open)}; receipts owed to ${count(found.owed)}`],
        ["Actor", `${WAITS[actor.status] ?? actor.status}${actor.alarm_in_s >= 0 ? `; looks at its retries in ${seconds(actor.alarm_in_s)}` : ""}`],
        ["Mailbox", `${count(actor.mailbox)} messages`],
      ]);
      this.devices.show(found.devices);
      this.sends.show(found.sends);
      this.problem.textContent = "";
      this.body.hidden = false;
    } catch (error) {
      this.problem.textContent = /** @type {any} */ (error).status === 404 ? "There is no such account." : /** @type {Error} */ (error).message;
      if (/** @type {any} */ (error).status === 404) this.body.hidden = true;
    }
  }

  leave() {
    clearInterval(this.timer);
  }
}
