// A device of the Whimbrel protocol: outbox, inbox, marks, reconnecting. The rules stand in
// docs/protocol.md section 4; the numbers in the comments are its paragraphs. Law: an item is
// on disk before it is shown, and shown before it is confirmed.

import { Uploads, facts } from "./media.js";
import * as p from "./protocol.js";
import { Store } from "./store.js";
import { preview } from "./words.js";

/** @typedef {import("./store.js").Line} Line */
/** @typedef {import("./store.js").Chat} Chat */
/** @typedef {import("./store.js").Change} Change */
/** @typedef {{address: string, device: number, key: string}} Account */

export const UPLOADING = -1, QUEUED = 0, ON_SERVER = 1, DELIVERED = 2, SEEN = 3, FAILED = 9;
const SILENCE_MS = 90_000;
const TYPING_MS = 6_000;

export class Engine extends EventTarget {
  /** @param {string} profile */
  constructor(profile) {
    super();
    this.store = new Store(profile);
    this.uploads = new Uploads(this);
    /** @type {Account | null} */ this.account = null;
    /** @type {Map<string, Chat>} */ this.chats = new Map();
    /** @type {Map<string, number>} */ this.shown = new Map();
    /** @type {Line[]} */ this.outbox = [];
    /** @type {Map<string, {online: boolean, seen: number}>} */ this.presence = new Map();
    /** @type {Map<string, number>} */ this.typing = new Map();
    this.state = "offline";
    this.reason = "";
    this.last = 0;
    this.era = 0;
    this.nextC = 0;
    this.nextKey = 0;
    this.open = "";
    this.hidden = false; // nobody sees when we are online
    /** @type {WebSocket | null} */ this.socket = null;
    this.welcomed = false;
    this.window = 1;
    this.sent = 0; // how many of the outbox are on the wire
    this.attempt = 0;
    this.holdOff = 0; // ms that the server has asked for
    this.heard = 0;
    this.stalled = false;
    this.ended = false;
    /** @type {p.Wire[]} */ this.arrived = [];
    this.working = false;
    /** @type {Promise<any>} */ this.writing = Promise.resolve();
    /** @type {Promise<any>} */ this.filing = Promise.resolve(); // files are taken in order
  }

  async start() {
    await this.store.open();
    const { facts, chats, shown, key } = await this.store.load();
    this.account = facts.get("account") || null;
    this.last = facts.get("last") || 0;
    this.era = facts.get("era") || 0;
    this.nextC = facts.get("c") || 0;
    this.nextKey = key;
    this.shown = shown;
    for (const chat of chats) this.chats.set(chat.peer, chat);
    if (this.account) {
      this.outbox = await this.store.own(this.account.device, false);
      this.connect();
      this.resumeUploads();
    }
    addEventListener("online", () => this.soon(0));
    addEventListener("visibilitychange", () => this.onFocus());
    addEventListener("focus", () => this.onFocus());
    setInterval(() => this.watch(), 5_000);
  }

  /** @param {string} name @param {any} [detail] */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** A new key after sign-up; conversations of the same account stay. @param {Account} account */
  async login(account) {
    if (this.account && this.account.address !== account.address) {
      await this.store.forget();
      await this.store.open();
      this.chats.clear();
      this.shown.clear();
    }
    this.account = account;
    this.last = this.era = this.nextC = 0;
    this.outbox = [];
    this.ended = false;
    await this.store.commit([
      { table: "fact", key: "account", value: account },
      { table: "fact", key: "last", value: 0 },
      { table: "fact", key: "era", value: 0 },
      { table: "fact", key: "c", value: 0 },
    ]);
    this.connect();
    this.resumeUploads();
  }

  async logout() {
    this.stop("signed out");
    await this.store.forget();
    await this.store.open();
    this.chats.clear();
    this.shown.clear();
    this.presence.clear();
    this.open = "";
  }

  // ---- connection (1.3, 4.1, 4.11) -------------------------------------------------------

  connect() {
    if (this.socket || this.ended || !this.account) return;
    this.setState("connecting");
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/socket`;
    const socket = new WebSocket(url, p.SUBPROTOCOL);
    this.socket = socket;
    this.heard = Date.now();
    socket.onopen = () => {
      const { address, device, key } = /** @type {Account} */ (this.account);
      this.say([p.HELLO, p.VERSION, address, device, key, this.last, this.era, "whimbrel-web"]);
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.heard = Date.now();
      this.arrived.push(JSON.parse(event.data));
      this.work();
    };
    socket.onclose = () => this.lost(socket);
  }

  /** @param {WebSocket} socket */
  lost(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.welcomed = false;
    this.arrived = [];
    this.sent = 0;
    this.presence.clear();
    if (this.ended) return;
    const wait = Math.max(
      this.holdOff,
      Math.min(30_000, 500 * 2 ** this.attempt++) * (0.5 + Math.random() / 2),
    );
    this.holdOff = 0;
    this.setState("offline");
    this.soon(wait);
  }

  /** @param {number} ms */
  soon(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), ms);
  }

  reconnect() {
    const socket = this.socket;
    if (socket) {
      socket.close();
      this.lost(socket);
    }
  }

  /** @param {string} reason */
  stop(reason) {
    this.ended = true;
    this.uploads.stop();
    this.setState("ended", reason);
    this.socket?.close();
    this.socket = null;
    this.welcomed = false;
  }

  /** @param {string} state @param {string} [reason] */
  setState(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.tell("state");
  }

  /** @param {p.Wire} message */
  say(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  watch() {
    const now = Date.now();
    if (this.socket && now - this.heard > SILENCE_MS) return this.reconnect();
    if (this.welcomed && now - this.heard > SILENCE_MS / 3) this.say([p.PING, 1]);
    for (const [peer, until] of this.typing) {
      if (until < now) {
        this.typing.delete(peer);
        this.tell("typing", peer);
      }
    }
    if (this.welcomed && this.open && now - (this.watched || 0) > 240_000) this.askPresence();
  }

  askPresence() {
    this.watched = Date.now();
    if (this.open) this.say([p.WATCH, this.open]);
  }

  // ---- what arrives ----------------------------------------------------------------------

  /** All that has come is handled in one transaction, then shown, then confirmed (4.4). */
  async work() {
    if (this.working) return;
    this.working = true;
    try {
      while (this.arrived.length) {
        const socket = this.socket;
        const batch = this.arrived.splice(0);
        const work = new Batch(this);
        for (const message of batch) {
          if (this.socket !== socket) break;
          await work.take(message);
        }
        await this.write(work.changes());
        if (this.socket !== socket) continue;
        work.release();
      }
    } catch (error) {
      this.setState("broken", String(error));
      this.reconnect();
    } finally {
      this.working = false;
    }
  }

  /** In order with all other writes. @param {Change[]} changes */
  write(changes) {
    const next = this.writing.then(() => this.store.commit(changes));
    this.writing = next.catch(() => null);
    return next;
  }

  // ---- what the person does --------------------------------------------------------------

  /** @param {string} peer @param {any} body */
  async send(peer, body) {
    const account = /** @type {Account} */ (this.account);
    /** @type {Line} */
    const line = {
      key: ++this.nextKey, peer, mine: true, device: account.device, c: ++this.nextC, id: 0,
      at: Date.now() * 1000, body, state: QUEUED, code: "",
    };
    const chat = this.chat(peer);
    chat.draft = "";
    this.mention(chat, line);
    this.tell("line", line);
    this.tell("chats");
    await this.write([
      { table: "line", value: line }, { table: "chat", value: chat },
      { table: "fact", key: "c", value: this.nextC },
    ]);
    this.outbox.push(line);
    this.pump();
  }

  /** A message that will carry a file; it gets its number when the file has arrived.
   * @param {string} peer @param {File} file @param {string} caption @param {number} [seconds] */
  sendFile(peer, file, caption, seconds) {
    this.filing = this.filing.then(() => this.keepFile(peer, file, caption, seconds));
    return this.filing;
  }

  /** @param {string} peer @param {File} file @param {string} caption @param {number} [seconds] */
  async keepFile(peer, file, caption, seconds) {
    const account = /** @type {Account} */ (this.account);
    const key = ++this.nextKey;
    const media = await facts(file, seconds);
    /** @type {Line} */
    const line = {
      key, peer, mine: true, device: account.device, c: 0, id: 0, at: Date.now() * 1000,
      body: caption ? { text: caption, media } : { media }, state: UPLOADING, code: "",
    };
    const chat = this.chat(peer);
    this.mention(chat, line);
    await this.write([
      { table: "file", key, value: file }, { table: "line", value: line }, { table: "chat", value: chat },
    ]);
    this.uploads.look(key, file);
    this.tell("line", line);
    this.tell("chats");
    this.uploads.begin(line, file);
  }

  /** The file is there: now it is a message like any other. @param {Line} line @param {any} media */
  async uploaded(line, media) {
    line.body = { ...line.body, media };
    line.c = ++this.nextC;
    line.device = /** @type {Account} */ (this.account).device;
    line.state = QUEUED;
    delete line.upload;
    delete line.piece;
    await this.changed(line, [
      { table: "fact", key: "c", value: this.nextC }, { table: "file", key: line.key, remove: true },
    ]);
    this.outbox.push(line);
    this.pump();
  }

  async resumeUploads() {
    const lines = await this.store.uploading();
    this.uploads.resume(lines.filter((line) => line.state === UPLOADING));
  }

  /** @param {Line} line */
  async cancelUpload(line) {
    this.uploads.cancel(line);
    await this.remove(line);
    this.tell("removed", line);
  }

  /** Once more, what was refused: as a new message. @param {Line} line */
  async sendAgain(line) {
    if (!line.c && line.body?.media && !line.body.media.link) return this.uploads.again(line);
    await this.remove(line);
    this.tell("removed", line);
    return this.send(line.peer, line.body);
  }

  /** A line of ours is not what it was. @param {Line} line @param {Change[]} [also] */
  async changed(line, also = []) {
    const chat = this.chat(line.peer);
    if (chat.lastKey === line.key) chat.lastState = line.state;
    await this.write([{ table: "line", value: line }, { table: "chat", value: chat }, ...also]);
    this.tell("line", line);
    this.tell("chats");
  }

  /** RFC 7617, for what is asked by HTTP. */
  proof() {
    const { address, device, key } = /** @type {Account} */ (this.account);
    return `Basic ${btoa(`${address}/${device}:${key}`)}`;
  }

  /** Until so much time has passed, or we are online again. @param {number} ms @param {AbortSignal} signal */
  pause(ms, signal) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.removeEventListener("state", online);
        resolve(null);
      };
      const online = () => { if (this.state === "online") end(); };
      const timer = setTimeout(end, ms);
      this.addEventListener("state", online);
      signal.addEventListener("abort", end, { once: true });
    });
  }

  /** Submit what the window allows (4.2). */
  pump() {
    while (this.welcomed && !this.stalled && this.sent < this.outbox.length && this.sent < this.window) {
      const line = this.outbox[this.sent++];
      this.say([p.SUBMIT, line.c, line.peer, line.body]);
    }
  }

  /** @param {number} seconds */
  stall(seconds) {
    if (this.stalled) return;
    this.stalled = true;
    setTimeout(() => {
      this.stalled = false;
      this.sent = 0;
      this.pump();
    }, Math.max(1, seconds) * 1000);
  }

  /** Show this conversation. @param {string} peer */
  enter(peer) {
    this.open = peer;
    if (!peer) return;
    this.askPresence();
    this.onFocus();
  }

  onFocus() {
    if (!this.open || document.visibilityState !== "visible" || !document.hasFocus()) return;
    const chat = this.chats.get(this.open);
    if (!chat || (!chat.unread && chat.told >= chat.seen)) return;
    chat.unread = 0;
    this.write([{ table: "chat", value: chat }]).then(() => this.tellRead(chat));
    this.tell("chats");
  }

  /** Repeated until ReadDone (4.6). @param {Chat} chat */
  tellRead(chat) {
    if (this.welcomed && chat.seen > chat.told) this.say([p.READ, chat.peer, chat.seen]);
  }

  /** @param {string} peer @param {boolean} on */
  tellTyping(peer, on) {
    if (this.welcomed) this.say([p.TYPING, peer, on]);
  }

  /** @param {string} peer @param {boolean} on */
  block(peer, on) {
    if (!this.welcomed) return false;
    this.say([p.BLOCK, peer, on]);
    return true;
  }

  /** Show nobody when we are online, and see it of nobody. @param {boolean} on */
  hide(on) {
    if (!this.welcomed) return false;
    this.say([p.HIDE, on]);
    return true;
  }

  /** A further key of this account, for another app; told by the event "linked". @param {string} name */
  link(name) {
    if (!this.welcomed) return false;
    this.say([p.LINK, name]);
    return true;
  }

  /** This browser is no device of the account any more; everything here is deleted. */
  async signOut() {
    if (this.welcomed) this.say([p.UNLINK, /** @type {Account} */ (this.account).device]);
    this.account = null;
    await this.logout();
  }

  /** @param {string} peer @param {string} draft */
  keepDraft(peer, draft) {
    const chat = this.chats.get(peer);
    if (!chat || chat.draft === draft) return;
    chat.draft = draft;
    this.write([{ table: "chat", value: chat }]);
    this.tell("chats");
  }

  /** @param {Line} line */
  async remove(line) {
    await this.write([{ table: "line", key: line.key, remove: true }, { table: "file", key: line.key, remove: true }]);
    const chat = this.chat(line.peer);
    if (chat.lastKey === line.key) {
      const [before] = (await this.store.lines(line.peer, Infinity, 1)).slice(-1);
      chat.last = "";
      if (before) this.mention(chat, before);
      await this.write([{ table: "chat", value: chat }]);
      this.tell("chats");
    }
  }

  /** @param {string} peer @returns {Chat} */
  chat(peer) {
    let chat = this.chats.get(peer);
    if (!chat) {
      chat = {
        peer, unread: 0, at: Date.now() * 1000, last: "", lastMine: false, lastState: 0, lastKey: 0,
        draft: "", delivered: 0, read: 0, seen: 0, told: 0, blocked: false,
      };
      this.chats.set(peer, chat);
    }
    return chat;
  }

  /** The list shows the newest line. @param {Chat} chat @param {Line} line */
  mention(chat, line) {
    chat.at = line.at;
    chat.last = preview(line.body);
    chat.lastMine = line.mine;
    chat.lastState = line.state;
    chat.lastKey = line.key || 0;
  }
}

/** What one slice of messages changes. */
class Batch {
  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
    /** @type {Map<number, Line>} */ this.lines = new Map();
    /** @type {Map<string, Chat>} */ this.chats = new Map();
    /** @type {Map<string, any>} */ this.facts = new Map();
    /** @type {Map<string, number>} */ this.shown = new Map();
    /** @type {Array<() => void>} */ this.later = [];
    this.fresh = /** @type {Line[]} */ ([]);
    this.confirm = false;
  }

  /** @param {p.Wire} m */
  async take(m) {
    if (p.isItem(m)) return this.item(m);
    switch (m[0]) {
      case p.WELCOME: return this.welcome(m);
      case p.STORED: return this.stored(m[1], m[2]);
      case p.REFUSED: return this.refused(m[1], m[2], m[3] || 0, m[4] || 0);
      case p.READ_DONE: return this.readDone(m[1], m[2]);
      case p.TYPING: return this.typing(m[1], m[2]);
      case p.PRESENCE: return this.presence(m[1], m[2], m[3]);
      case p.BLOCK: return this.blocked(m[1], m[2]);
      case p.HIDE: return this.hidden(m[1]);
      case p.LINKED: return this.engine.tell("linked", { device: m[1], key: m[2], code: m[3] || "" });
      case p.PING: return this.engine.say([p.PONG, m[1]]);
      case p.REPLACED: return this.engine.stop("replaced");
      case p.ERROR: return this.error(m[1], m[2] || "", m[3] || false, m[4] || 0);
    }
  }

  /** @param {p.Wire} m */
  async welcome([, , , era, submitted, confirmed, , , , window]) {
    const e = this.engine;
    if (e.era && e.era !== era) { // 4.9: the server came back from a backup
      e.last = 0;
      const kept = await e.store.own(/** @type {any} */ (e.account).device, true);
      for (const line of kept) if (line.c > submitted && line.state !== FAILED) line.state = QUEUED;
      e.outbox = kept.filter((line) => line.state === QUEUED);
      e.outbox.forEach((line) => this.lines.set(line.key || 0, line));
    }
    e.era = era;
    e.hidden = false; // told after this if it is not so
    e.last = Math.max(e.last, confirmed);
    e.nextC = Math.max(e.nextC, submitted);
    this.facts.set("era", era).set("last", e.last).set("c", e.nextC);
    e.window = window || 1;
    this.confirm = e.last > confirmed;
    this.later.push(() => {
      e.welcomed = true;
      e.attempt = 0;
      e.sent = 0;
      e.stalled = false;
      e.setState("online");
      e.pump();
      e.askPresence();
      for (const chat of e.chats.values()) e.tellRead(chat);
    });
  }

  /** @param {number} c @param {number} id */
  stored(c, id) {
    const line = this.answered(c);
    if (!line) return;
    line.id = id;
    line.at = id;
    const chat = this.engine.chat(line.peer);
    line.state = id <= chat.read ? SEEN : id <= chat.delivered ? DELIVERED : ON_SERVER;
    this.changed(line);
  }

  /** @param {number} c @param {string} code @param {number} expected @param {number} wait */
  refused(c, code, expected, wait) {
    const e = this.engine;
    if (p.LATER.has(code)) return e.stall(wait);
    if (code === "gap") {
      e.sent = Math.max(0, e.outbox.findIndex((line) => line.c >= expected));
      return e.stall(1);
    }
    if (code === "number-used") { // this profile was copied: new numbers for all that waits
      for (const line of e.outbox) line.c = ++e.nextC;
      e.outbox.forEach((line) => this.lines.set(line.key || 0, line));
      this.facts.set("c", e.nextC);
      e.sent = 0;
      return e.stall(1);
    }
    const line = this.answered(c);
    if (!line) return;
    line.state = FAILED;
    line.code = code;
    this.changed(line);
  }

  /** @param {number} c */
  answered(c) {
    const e = this.engine;
    const at = e.outbox.findIndex((line) => line.c === c);
    if (at < 0) return null;
    if (at < e.sent) e.sent--;
    this.later.push(() => e.pump());
    return e.outbox.splice(at, 1)[0];
  }

  /** @param {Line} line */
  changed(line) {
    this.lines.set(line.key || 0, line);
    const chat = this.engine.chat(line.peer);
    if (chat.lastKey === line.key) {
      chat.lastState = line.state;
      this.chats.set(chat.peer, chat);
    }
    this.later.push(() => this.engine.tell("line", line));
  }

  /** @param {p.Wire} m */
  async item(m) {
    const e = this.engine;
    const [kind, prev, q] = m;
    if (q <= e.last) return;
    if (prev > e.last) return e.reconnect();
    e.last = q;
    this.facts.set("last", q);
    this.confirm = true;
    if (kind === p.MESSAGE) this.message(m[3], m[4], m[5], m[6], m[7]);
    else if (kind === p.COPY) this.copy(m[3], m[4], m[5], m[6], m[7]);
    else if (kind === p.RECEIPT) await this.receipt(m[3], m[4], m[5]);
    else if (kind === p.FAILED) await this.failed(m[3], m[4], m[5], m[6], m[7], m[8] || 0);
  }

  /** @param {string} sender @param {number} id @param {number} device @param {number} c @param {any} body */
  message(sender, id, device, c, body) {
    const e = this.engine;
    const who = `${device} ${sender}`;
    if (c <= (this.shown.get(who) ?? e.shown.get(who) ?? 0)) return; // shown before a restore
    this.shown.set(who, c);
    const line = { key: ++e.nextKey, peer: sender, mine: false, device, c, id, at: id, body, state: 0, code: "" };
    const chat = e.chat(sender);
    chat.unread++;
    chat.seen = Math.max(chat.seen, id);
    e.mention(chat, line);
    this.add(chat, line);
    this.later.push(() => {
      if (e.typing.delete(sender)) e.tell("typing", sender);
      if (sender === e.open && !e.presence.has(sender)) e.askPresence(); // from now on we may know (4.10)
    });
  }

  /** What another device of ours has sent. @param {string} peer @param {number} id
   * @param {number} device @param {number} c @param {any} body */
  copy(peer, id, device, c, body) {
    const e = this.engine;
    if (body === null || device === e.account?.device) return;
    const line = { key: ++e.nextKey, peer, mine: true, device, c, id, at: id, body, state: ON_SERVER, code: "" };
    const chat = e.chat(peer);
    e.mention(chat, line);
    this.add(chat, line);
  }

  /** @param {Chat} chat @param {Line} line */
  add(chat, line) {
    this.lines.set(line.key || 0, line);
    this.chats.set(chat.peer, chat);
    this.fresh.push(line);
  }

  /** @param {string} peer @param {number} delivered @param {number} read */
  async receipt(peer, delivered, read) {
    const e = this.engine;
    const chat = e.chat(peer);
    chat.delivered = Math.max(chat.delivered, delivered);
    chat.read = Math.max(chat.read, read);
    this.chats.set(peer, chat);
    for (const line of await this.mine(peer)) {
      if (line.state === FAILED || !line.id) continue;
      const state = line.id <= chat.read ? SEEN : line.id <= chat.delivered ? DELIVERED : line.state;
      if (state > line.state) {
        line.state = state;
        this.changed(line);
      }
    }
  }

  /** @param {string} peer @param {number} device @param {number} c @param {number} id
   * @param {string} code @param {number} first */
  async failed(peer, device, c, id, code, first) {
    for (const line of await this.mine(peer)) {
      const named = device && line.device === device && line.c === c;
      const within = first && line.id >= first && line.id <= id && line.state < DELIVERED;
      if ((named || within) && line.state < DELIVERED) {
        line.state = FAILED;
        line.code = code;
        this.changed(line);
      }
    }
  }

  /** Our last lines to this person, as they are after this batch. @param {string} peer */
  async mine(peer) {
    const lines = (await this.engine.store.lines(peer, Infinity, 500)).filter((line) => line.mine);
    return lines.map((line) => this.lines.get(line.key || 0) || line);
  }

  /** @param {string} peer @param {number} id */
  readDone(peer, id) {
    const chat = this.engine.chats.get(peer);
    if (!chat || id <= chat.told) return;
    chat.told = id;
    this.chats.set(peer, chat);
  }

  /** @param {string} peer @param {boolean} on */
  typing(peer, on) {
    const e = this.engine;
    if (on) e.typing.set(peer, Date.now() + TYPING_MS);
    else e.typing.delete(peer);
    this.later.push(() => e.tell("typing", peer));
  }

  /** @param {string} peer @param {boolean} online @param {number} seen */
  presence(peer, online, seen) {
    this.engine.presence.set(peer, { online, seen });
    this.later.push(() => this.engine.tell("presence", peer));
  }

  /** @param {boolean} on */
  hidden(on) {
    const e = this.engine;
    e.hidden = on;
    if (on) e.presence.clear();
    this.later.push(() => {
      e.tell("presence", "");
      e.tell("hidden");
      if (!on) e.askPresence();
    });
  }

  /** @param {string} peer @param {boolean} on */
  blocked(peer, on) {
    const chat = this.engine.chat(peer);
    chat.blocked = on;
    this.chats.set(peer, chat);
    this.later.push(() => this.engine.tell("blocked", peer));
  }

  /** @param {string} code @param {string} about @param {boolean} fatal @param {number} wait */
  error(code, about, fatal, wait) {
    const e = this.engine;
    if (fatal && (code === "not-authorized" || code === "unsupported-version")) return e.stop(code);
    if (fatal && wait) e.holdOff = 1000 * (wait + Math.random()); // many were told the same
    if (!fatal) this.later.push(() => e.tell("refused", { code, about }));
  }

  /** @returns {Change[]} */
  changes() {
    /** @type {Change[]} */
    const changes = [];
    for (const line of this.lines.values()) changes.push({ table: "line", value: line });
    for (const chat of this.chats.values()) changes.push({ table: "chat", value: chat });
    for (const [key, value] of this.facts) changes.push({ table: "fact", key, value });
    for (const [key, value] of this.shown) changes.push({ table: "shown", key, value });
    return changes;
  }

  /** After the commit: show, confirm, go on. */
  release() {
    const e = this.engine;
    for (const [who, c] of this.shown) e.shown.set(who, c);
    for (const line of this.fresh) e.tell("line", line);
    for (const line of this.fresh) if (!line.mine) e.tell("incoming", line);
    if (this.chats.size) e.tell("chats");
    if (this.confirm) e.say([p.CONFIRM, e.last]);
    for (const call of this.later) call();
    e.onFocus();
  }
}
