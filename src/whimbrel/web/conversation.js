// One conversation: lines by day, marks that change in place, the composer.

import { Recorder, filesOf, lookBefore } from "./attach.js";
import { ICONS, h, icon, linked } from "./dom.js";
import { DELIVERED, FAILED, QUEUED, SEEN } from "./engine.js";
import { Viewer, fileBox, moveBar } from "./viewer.js";
import { clock, day, dayKey, initials, lastSeen, markText, preview, shown, tint } from "./words.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./store.js").Line} Line */

const PAGE = 80;
const KEPT_MAX = 400; // lines in the page at once; older ones are read again when wanted
const GROUP_US = 120_000_000;
const TEXT_MAX = 10_000;

/** @param {Line} line */
function mark(line) {
  const name = line.state === FAILED ? "alert" : line.state <= QUEUED ? "clock" : line.state >= DELIVERED ? "two" : "one";
  const svg = icon(/** @type {any} */ (ICONS)[name], markText(line.state, line.code));
  svg.classList.add("mark", line.state === SEEN ? "seen" : line.state === FAILED ? "failed" : "plain");
  svg.setAttribute("role", "img");
  return svg;
}

export class Conversation {
  /** @param {Engine} engine @param {string} peer @param {() => void} leave */
  constructor(engine, peer, leave) {
    this.engine = engine;
    this.peer = peer;
    /** @type {Line | null} */ this.reply = null;
    /** @type {Map<number, Line>} */ this.lines = new Map();
    /** @type {Map<number, HTMLElement>} */ this.rows = new Map();
    this.all = false; // the oldest line is in the page
    this.newest = true; // the newest line is in the page
    this.reading = false;
    this.lastTyped = 0;
    /** @type {boolean | null} */ this.writes = null; // what the button beside the composer does
    /** @type {Recorder | null} */ this.recorder = null;
    this.status = h("p", { class: "status" });
    this.list = h("ol", { class: "lines" });
    this.scroller = h("div", {
      class: "scroller", tabIndex: 0, role: "log", "aria-live": "polite", "aria-label": "Messages",
      onscroll: () => this.onScroll(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.onRowKey(event),
    }, this.list);
    this.down = h("button", { class: "down", hidden: true, "aria-label": "To the newest message", onclick: () => this.latest() }, "↓");
    this.quote = h("div", { class: "quote", hidden: true });
    this.input = h("textarea", {
      rows: 1, placeholder: "Message", "aria-label": "Message", maxlength: String(TEXT_MAX),
      oninput: () => this.onInput(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
    });
    this.input.value = engine.chat(peer).draft;
    this.button = h("button", { class: "send", onclick: () => (this.input.value.trim() ? this.send() : this.record()) });
    const choose = h("input", { type: "file", multiple: true, hidden: true, onchange: () => {
      this.look([...choose.files]);
      choose.value = "";
    } });
    const attach = h("button", { class: "plain", "aria-label": "Attach files", title: "Attach files", onclick: () => choose.click() }, icon(ICONS.clip));
    this.composer = h("footer", {}, choose, attach, this.input, this.button);
    this.menu = h("div", { class: "menu", hidden: true, role: "menu", onkeydown: (/** @type {KeyboardEvent} */ event) => this.onMenuKey(event) });
    /** @type {HTMLElement | null} */ this.opener = null; // where the focus goes back to
    this.node = h("section", {
      class: "conversation", "aria-label": `Conversation with ${shown(peer)}`,
      ondragover: (/** @type {DragEvent} */ event) => { event.preventDefault(); this.node.classList.add("over"); },
      ondragleave: (/** @type {DragEvent} */ event) => { if (!this.node.contains(/** @type {Node} */ (event.relatedTarget))) this.node.classList.remove("over"); },
      ondrop: (/** @type {DragEvent} */ event) => { event.preventDefault(); this.node.classList.remove("over"); this.look(filesOf(event.dataTransfer)); },
      onpaste: (/** @type {ClipboardEvent} */ event) => {
        const files = filesOf(event.clipboardData);
        if (files.length) { event.preventDefault(); this.look(files); }
      },
    },
      h("header", {},
        h("button", { class: "plain back", "aria-label": "Back to all chats", onclick: leave }, icon(ICONS.back)),
        h("div", { class: `face ${tint(peer)}`, "aria-hidden": "true" }, initials(peer)),
        h("div", { class: "who" }, h("h2", {}, shown(peer)), this.status),
        h("button", { class: "plain", "aria-label": "More", "aria-haspopup": "menu", onclick: () => this.toggleMenu() }, icon(ICONS.more))),
      this.menu, this.scroller, this.down, this.quote,
      this.composer);
    this.showButton();
    this.showStatus();
  }

  async open() {
    await this.latest();
    this.grow();
    if (matchMedia("(hover: hover)").matches) this.input.focus();
  }

  close() {
    this.engine.keepDraft(this.peer, this.input.value);
    if (this.lastTyped) this.engine.tellTyping(this.peer, false);
    this.recorder?.stop(false);
  }

  /** The newest page, from the database. */
  async latest() {
    if (!this.newest || !this.lines.size) {
      const lines = await this.engine.store.lines(this.peer, Infinity, PAGE);
      this.all = lines.length < PAGE;
      this.newest = true;
      this.lines = new Map(lines.map((line) => [line.key || 0, line]));
      this.draw();
    }
    this.toEnd();
  }

  // ---- lines -----------------------------------------------------------------------------

  draw() {
    this.rows.clear();
    const rows = [];
    let before = null;
    for (const line of this.lines.values()) {
      if (!before || dayKey(before.at) !== dayKey(line.at)) rows.push(h("li", { class: "day" }, h("span", {}, day(line.at))));
      rows.push(this.row(line, before));
      before = line;
    }
    if (!rows.length) rows.push(h("li", { class: "empty" }, "Say hello. Messages wait on the server until they are read."));
    this.list.replaceChildren(...rows);
  }

  /** @param {Line} line @param {Line | null} before */
  row(line, before) {
    const joined = before && before.mine === line.mine && line.at - before.at < GROUP_US && dayKey(before.at) === dayKey(line.at);
    const text = line.body && typeof line.body.text === "string" ? line.body.text : "";
    const box = fileBox(this.engine, line, (each) => new Viewer(this.engine, [...this.lines.values()], each));
    const bubble = h("div", { class: box ? "bubble with-file" : "bubble" }, this.quoted(line), box, (text || !box) && h("p", { dir: "auto" }, ...linked(text)),
      h("footer", {}, h("time", { datetime: new Date(line.at / 1000).toISOString() }, clock(line.at)), line.mine ? mark(line) : ""));
    if (line.state === FAILED) bubble.append(h("p", { class: "why" }, markText(line.state, line.code)));
    const row = h("li", {
      class: `line ${line.mine ? "mine" : "theirs"} ${joined ? "joined" : ""}`, tabIndex: -1,
      oncontextmenu: (/** @type {MouseEvent} */ event) => this.actions(event, line, event.clientX, event.clientY),
      ondblclick: () => this.answer(line),
    }, bubble);
    this.rows.set(line.key || 0, row);
    return row;
  }

  /** @param {Line} line */
  quoted(line) {
    const reply = line.body?.reply;
    if (!Array.isArray(reply)) return "";
    const [who, device, c] = reply;
    const own = who === this.engine.account?.address;
    for (const other of this.lines.values()) {
      if (other.mine === own && other.device === device && other.c === c) {
        return h("blockquote", { onclick: () => this.rows.get(other.key || 0)?.scrollIntoView({ block: "center" }) },
          h("cite", {}, own ? "You" : shown(this.peer)), preview(other.body));
      }
    }
    return h("blockquote", {}, "an earlier message");
  }

  /** A line is new or has changed. @param {Line} line */
  onLine(line) {
    if (line.peer !== this.peer) return;
    const row = this.rows.get(line.key || 0);
    const known = [...this.lines.values()];
    if (row) {
      this.lines.set(line.key || 0, line);
      const at = known.findIndex((each) => each.key === line.key);
      row.replaceWith(this.row(line, at > 0 ? known[at - 1] : null));
      return;
    }
    if (!this.newest) {
      this.down.hidden = false;
      if (line.mine) this.latest();
      return;
    }
    const near = this.nearEnd();
    const before = known.at(-1) || null;
    this.lines.set(line.key || 0, line);
    if (!before) this.draw();
    else {
      if (dayKey(before.at) !== dayKey(line.at)) this.list.append(h("li", { class: "day" }, h("span", {}, day(line.at))));
      this.list.append(this.row(line, before));
    }
    if (near || line.mine) this.toEnd();
    if (near && this.lines.size > KEPT_MAX) this.drop();
  }

  /** The page holds so many lines; older ones are in the database. */
  drop() {
    for (const key of [...this.lines.keys()].slice(0, this.lines.size - PAGE)) this.lines.delete(key);
    this.all = false;
    this.draw();
    this.toEnd();
  }

  async older() {
    if (this.all || this.reading) return;
    this.reading = true;
    const [first] = this.lines.keys();
    const lines = await this.engine.store.lines(this.peer, first ?? Infinity, PAGE);
    this.all = lines.length < PAGE;
    const kept = [...lines, ...this.lines.values()].slice(0, KEPT_MAX);
    this.newest &&= kept.length === lines.length + this.lines.size;
    this.turn(kept, first);
    this.reading = false;
  }

  async newer() {
    if (this.newest || this.reading) return;
    this.reading = true;
    const last = [...this.lines.keys()].at(-1) ?? 0;
    const lines = await this.engine.store.linesAfter(this.peer, last, PAGE);
    this.newest = lines.length < PAGE;
    const kept = [...this.lines.values(), ...lines].slice(-KEPT_MAX);
    this.all &&= kept.length === lines.length + this.lines.size;
    this.turn(kept, last);
    this.reading = false;
  }

  /** Other lines in the page, and what was seen stays where it was. @param {Line[]} lines
   * @param {number | undefined} anchor the key of a line that stays */
  turn(lines, anchor) {
    const place = () => this.rows.get(anchor ?? -1)?.getBoundingClientRect().top ?? 0;
    const before = place();
    this.lines = new Map(lines.map((line) => [line.key || 0, line]));
    this.draw();
    this.scroller.scrollTop += place() - before;
  }

  onScroll() {
    if (this.scroller.scrollTop < 400) this.older();
    else if (this.nearEnd(400)) this.newer();
    this.down.hidden = this.newest && this.nearEnd();
  }

  nearEnd(within = 160) {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < within;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.down.hidden = true;
  }

  // ---- writing ---------------------------------------------------------------------------

  onInput() {
    this.grow();
    const now = Date.now();
    if (this.input.value && now - this.lastTyped > 3_000) {
      this.lastTyped = now;
      this.engine.tellTyping(this.peer, true);
    }
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.engine.keepDraft(this.peer, this.input.value), 600);
  }

  /** One button: a voice while nothing is written, else send. */
  showButton() {
    const writes = Boolean(this.input.value.trim());
    if (this.writes === writes) return;
    this.writes = writes;
    this.button.replaceChildren(icon(writes ? ICONS.send : ICONS.voice));
    this.button.setAttribute("aria-label", writes ? "Send" : "Record a voice message");
  }

  /** @param {File[]} files */
  look(files) {
    if (files.length) lookBefore(files, (file, caption) => this.engine.sendFile(this.peer, file, caption));
  }

  record() {
    this.recorder = new Recorder((file, seconds) => this.engine.sendFile(this.peer, file, "", seconds), () => {
      this.recorder?.node.replaceWith(this.composer);
      this.recorder = null;
    }, (text) => this.engine.tell("notice", text));
    this.composer.replaceWith(this.recorder.node);
    this.recorder.start();
  }

  /** @param {Line} line */
  onProgress(line) {
    const row = this.rows.get(line.key || 0);
    if (row) moveBar(row, this.engine.uploads.progress.get(line.key || 0) || 0);
  }

  /** @param {Line} line */
  onRemoved(line) {
    if (this.lines.delete(line.key || 0)) this.draw();
  }

  grow() {
    this.showButton();
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 160)}px`;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send();
    }
    if (event.key === "Escape" && this.reply) this.answer(null);
    if (event.key === "ArrowUp" && !this.input.value) {
      event.preventDefault();
      [...this.rows.values()].at(-1)?.focus();
    }
  }

  /** Among the messages: arrows move, Enter opens the menu, Escape goes back to writing.
   * @param {KeyboardEvent} event */
  onRowKey(event) {
    const row = /** @type {HTMLElement} */ (event.target);
    const rows = [...this.rows.values()];
    const at = rows.indexOf(row);
    if (at < 0) return;
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      const next = rows[at + (event.key === "ArrowUp" ? -1 : 1)];
      if (next) next.focus();
      else if (event.key === "ArrowDown") this.input.focus();
    }
    if (event.key === "Escape") this.input.focus();
    if (event.key === "Enter" || event.key === "ContextMenu") {
      const line = [...this.lines.values()][at];
      const { left, bottom } = row.getBoundingClientRect();
      this.actions(event, line, left + 40, bottom);
    }
  }

  /** @param {KeyboardEvent} event */
  onMenuKey(event) {
    const entries = [...this.menu.querySelectorAll("button")];
    const at = entries.indexOf(/** @type {any} */ (document.activeElement));
    if (event.key === "ArrowDown") entries[(at + 1) % entries.length].focus();
    if (event.key === "ArrowUp") entries.at(at - 1).focus();
    if (event.key === "Escape" || event.key === "Tab") {
      this.closeMenu();
      this.opener?.focus();
    }
    if (event.key !== "Enter" && event.key !== " ") {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  send() {
    const text = this.input.value.trim();
    if (!text) return;
    clearTimeout(this.draftTimer);
    /** @type {any} */
    const body = { text };
    if (this.reply) {
      const { mine, device, c } = this.reply;
      body.reply = [mine ? this.engine.account?.address : this.peer, device, c];
    }
    this.input.value = "";
    this.answer(null);
    this.grow();
    this.lastTyped = 0;
    this.engine.send(this.peer, body);
    this.input.focus();
  }

  /** @param {Line | null} line */
  answer(line) {
    this.reply = line && line.c ? line : null;
    this.quote.hidden = !this.reply;
    if (!this.reply) return;
    this.quote.replaceChildren(
      h("div", {}, h("cite", {}, this.reply.mine ? "You" : shown(this.peer)), preview(this.reply.body)),
      h("button", { class: "plain", "aria-label": "No reply", onclick: () => this.answer(null) }, icon(ICONS.close)));
    this.input.focus();
  }

  // ---- menus -----------------------------------------------------------------------------

  /** @param {Event} event @param {Line} line @param {number} x @param {number} y */
  actions(event, line, x, y) {
    if (getSelection()?.toString()) return;
    event.preventDefault();
    /** @type {Array<[string, () => void]>} */
    const entries = [];
    if (line.c) entries.push(["Reply", () => this.answer(line)]);
    if (line.state === FAILED) entries.push(["Send again", () => this.engine.sendAgain(line)]);
    if (line.body?.text) entries.push(["Copy", () => navigator.clipboard?.writeText(String(line.body.text))]);
    entries.push(["Delete on this device", () => this.remove(line)]);
    this.opener = this.rows.get(line.key || 0) || null;
    this.showMenu(entries, x, y);
  }

  toggleMenu() {
    if (!this.menu.hidden) return this.closeMenu();
    this.opener = /** @type {HTMLElement} */ (document.activeElement);
    const on = this.engine.chat(this.peer).blocked;
    this.showMenu([[on ? "Unblock" : "Block", () => this.engine.block(this.peer, !on)]]);
  }

  /** At a place of the window, or below the button. @param {Array<[string, () => void]>} entries
   * @param {number} [x] @param {number} [y] */
  showMenu(entries, x, y) {
    this.menu.replaceChildren(...entries.map(([text, action]) => h("button", {
      role: "menuitem", onclick: () => { this.closeMenu(); action(); },
    }, text)));
    this.menu.hidden = false;
    this.menu.style.cssText = "";
    if (x !== undefined && y !== undefined) {
      const room = this.node.getBoundingClientRect();
      const { width, height } = this.menu.getBoundingClientRect();
      this.menu.style.right = "auto";
      this.menu.style.left = `${Math.max(8, Math.min(x - room.left, room.width - width - 8))}px`;
      this.menu.style.top = `${Math.max(8, Math.min(y - room.top, room.height - height - 8))}px`;
    }
    this.menu.querySelector("button").focus();
    setTimeout(() => addEventListener("click", () => this.closeMenu(), { once: true }));
  }

  closeMenu() {
    this.menu.hidden = true;
    this.menu.replaceChildren();
  }

  /** @param {Line} line */
  async remove(line) {
    if (line.state < QUEUED) return this.engine.cancelUpload(line);
    await this.engine.remove(line);
    this.lines.delete(line.key || 0);
    this.draw();
  }

  showStatus() {
    const known = this.engine.presence.get(this.peer);
    const typing = this.engine.typing.has(this.peer);
    const away = this.engine.state !== "online";
    const text = away ? (this.engine.state === "connecting" ? "connecting …" : "offline: sent when you are back") : typing ? "typing …" : this.engine.chats.get(this.peer)?.blocked ? "blocked"
      : known?.online ? "online" : lastSeen(known?.seen || 0);
    this.status.textContent = text;
    this.status.classList.toggle("live", !away && (typing || Boolean(known?.online)));
  }
}
