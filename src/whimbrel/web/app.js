// The page: one engine, a list of chats, one open conversation. Begin reading here.

import { Conversation } from "./conversation.js";
import { ICONS, h, icon } from "./dom.js";
import { DELIVERED, Engine, FAILED, QUEUED, SEEN } from "./engine.js";
import { showSettings } from "./settings.js";
import { showSignup } from "./signup.js";
import { address, country, errorText, initials, preview, shown, tint, when } from "./words.js";

const profile = (new URLSearchParams(location.search).get("profile") || "").replace(/[^\w-]/g, "").slice(0, 20);
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const engine = new Engine(profile);
/** @type {Conversation | null} */
let conversation = null;
let wanted = "";

const rows = h("ul", { class: "chats" });
const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search chats", oninput: drawList });
const banner = h("p", { class: "banner", role: "status", hidden: true });
const toast = h("p", { class: "toast", role: "alert", hidden: true });
const side = h("nav", { class: "side", "aria-label": "Chats" });
const stage = h("main", { class: "stage" });

// ---- the list ----------------------------------------------------------------------------

function drawList() {
  wanted = search.value.trim().toLowerCase();
  const chats = [...engine.chats.values()].filter((chat) => (chat.lastKey || chat.draft || chat.peer === engine.open)
    && (!wanted || shown(chat.peer).includes(wanted) || chat.peer.includes(wanted.replace(/\s/g, "")) || chat.last.toLowerCase().includes(wanted)));
  chats.sort((a, b) => b.at - a.at);
  rows.replaceChildren(...chats.map(row));
  if (!chats.length) rows.append(h("li", { class: "empty" }, wanted ? "Nothing found." : "No chats yet. Start one with the + above."));
  const unread = [...engine.chats.values()].reduce((sum, chat) => sum + chat.unread, 0);
  document.title = unread ? `(${unread}) Whimbrel` : "Whimbrel";
}

/** @param {import("./store.js").Chat} chat */
function row(chat) {
  const typing = engine.typing.has(chat.peer);
  const draft = chat.draft && chat.peer !== engine.open;
  const state = chat.lastState;
  const name = state === FAILED ? "alert" : state <= QUEUED ? "clock" : state >= DELIVERED ? "two" : "one";
  const sign = chat.lastMine && !draft && !typing ? icon(/** @type {any} */ (ICONS)[name]) : "";
  if (sign) sign.classList.add("mark", state === SEEN ? "seen" : state === FAILED ? "failed" : "plain");
  return h("li", {}, h("button", {
    class: `chat ${chat.peer === engine.open ? "open" : ""}`, onclick: () => show(chat.peer),
    "aria-current": chat.peer === engine.open ? "true" : false,
  },
  h("div", { class: `face ${tint(chat.peer)}`, "aria-hidden": "true" }, initials(chat.peer)),
  h("div", { class: "about" },
    h("div", {}, h("strong", {}, shown(chat.peer)), h("time", {}, chat.lastKey ? when(chat.at) : "")),
    h("div", {}, h("span", { class: "preview" }, sign, typing ? h("em", { class: "live" }, "typing …")
      : draft ? h("span", {}, h("em", { class: "draft" }, "Draft: "), chat.draft) : chat.last),
    chat.unread ? h("b", { class: "badge", "aria-label": `${chat.unread} unread` }, String(chat.unread)) : ""))));
}

// ---- pages -------------------------------------------------------------------------------

function drawHome() {
  side.replaceChildren(
    h("header", {}, h("img", { src: "/app/bird.svg", alt: "", width: "32", height: "32" }),
      h("div", { class: "who" }, h("h1", {}, "Whimbrel"), h("p", { class: "status" }, shown(engine.account?.address || ""))),
      h("button", { class: "plain", "aria-label": "Settings", title: "Settings", onclick: () => showSettings(engine, notice, signUp) }, icon(ICONS.gear)),
      h("button", { class: "plain", "aria-label": "New chat", title: "New chat", onclick: newChat }, icon(ICONS.plus))),
    banner, h("div", { class: "search" }, search), rows);
  root.replaceChildren(side, stage, toast);
  drawList();
  showNothing();
}

function showNothing() {
  stage.replaceChildren(h("div", { class: "nothing" }, h("img", { src: "/app/bird.svg", alt: "", width: "88", height: "88" }),
    h("p", {}, "Choose a chat, or start a new one."),
    h("p", { class: "quiet" }, "✓ on the server's disk   ✓✓ on the other phone   blue: read")));
  root.classList.remove("in-chat");
}

/** @param {string} peer */
async function show(peer) {
  conversation?.close();
  conversation = new Conversation(engine, peer, leave);
  engine.enter(peer);
  stage.replaceChildren(conversation.node);
  root.classList.add("in-chat");
  await conversation.open();
  drawList();
}

function leave() {
  conversation?.close();
  conversation = null;
  engine.enter("");
  showNothing();
  drawList();
}

function newChat() {
  const input = h("input", { type: "text", placeholder: "+49 151 12345678 or a name", "aria-label": "Phone number or name", autocomplete: "off", required: true });
  const dialog = h("dialog", { "aria-label": "New chat" }, h("form", { method: "dialog", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    const peer = address(input.value, country());
    if (!/^(\+\d{6,15}|[a-z][a-z0-9._-]{0,63})$/.test(peer)) return notice("This is not a phone number or a name.");
    dialog.remove();
    if (peer === engine.account?.address) return notice("That is your own number.");
    show(peer);
  } }, h("h2", {}, "New chat"), h("label", {}, "To whom?", input),
  h("div", { class: "buttons" }, h("button", { type: "button", class: "plain", onclick: () => dialog.remove() }, "Cancel"),
    h("button", { class: "primary" }, "Write"))));
  root.append(dialog);
  dialog.showModal();
}

/** @param {string} text */
function notice(text) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => { toast.hidden = true; }, 4_000);
}
/** @type {any} */ notice.timer = 0;

const ENDS = {
  replaced: ["You are signed in somewhere else now", "This number was registered on another phone or browser, so this page was signed out. Your conversations here stay until you sign in again with another number."],
  "not-authorized": ["This browser is signed out", "Its key is not valid any more: the number was registered somewhere else."],
  "unsupported-version": ["Please reload", "The server speaks a newer version than this page."],
  "another tab": ["Whimbrel is open in another tab", "Only one tab at a time sends and receives."],
};

/** @param {string} reason */
function drawEnd(reason) {
  const [title, text] = /** @type {any} */ (ENDS)[reason] || ["Signed out", ""];
  const again = reason === "another tab" ? h("button", { class: "primary", onclick: () => begin(true) }, "Use Whimbrel here")
    : reason === "unsupported-version" ? h("button", { class: "primary", onclick: () => location.reload() }, "Reload")
      : h("button", { class: "primary", onclick: signUp }, "Sign up again");
  root.replaceChildren(h("main", { class: "welcome" }, h("img", { src: "/app/bird.svg", alt: "", width: "72", height: "72" }),
    h("h1", {}, title), h("section", { class: "card" }, h("p", {}, text), again)));
}

function signUp() {
  showSignup(root, async (account) => {
    await engine.login(account);
    drawHome();
  });
}

// ---- what the engine tells ---------------------------------------------------------------

engine.addEventListener("state", () => {
  if (engine.state === "ended") return engine.reason === "signed out" ? null : drawEnd(engine.reason);
  banner.hidden = engine.state === "online";
  banner.textContent = engine.state === "connecting" ? "Connecting …"
    : engine.state === "broken" ? "This browser cannot store messages." : "Offline. What you write is sent when you are back.";
});
engine.addEventListener("chats", drawList);
engine.addEventListener("line", (event) => conversation?.onLine(/** @type {CustomEvent} */ (event).detail));
for (const name of ["typing", "presence", "blocked", "state"]) {
  engine.addEventListener(name, () => { conversation?.showStatus(); if (name === "typing") drawList(); });
}
engine.addEventListener("progress", (event) => conversation?.onProgress(/** @type {CustomEvent} */ (event).detail));
engine.addEventListener("removed", (event) => conversation?.onRemoved(/** @type {CustomEvent} */ (event).detail));
engine.addEventListener("notice", (event) => notice(/** @type {CustomEvent} */ (event).detail));
engine.addEventListener("refused", (event) => notice(errorText(/** @type {CustomEvent} */ (event).detail.code)));
engine.addEventListener("incoming", (event) => {
  const line = /** @type {CustomEvent} */ (event).detail;
  if (document.hasFocus() && line.peer === engine.open) return;
  if (mayNotify()) {
    const shownNow = new Notification(shown(line.peer), { body: preview(line.body), icon: "/app/bird.svg", tag: line.peer });
    shownNow.onclick = () => { focus(); show(line.peer); };
  }
});
/** Asked for in the settings, never by itself. */
function mayNotify() {
  return typeof Notification !== "undefined" && Notification.permission === "granted" && !localStorage.getItem("quiet");
}
addEventListener("beforeunload", () => conversation?.close());
addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  if (event.key === "Escape" && conversation && matchMedia("(max-width: 719px)").matches) leave();
  if (event.key === "n" && event.altKey) newChat();
});

// ---- one tab at a time -------------------------------------------------------------------

/** @param {boolean} steal */
function begin(steal) {
  const name = `whimbrel-${profile}`;
  const hold = () => navigator.locks.request(name, steal ? { steal: true } : { ifAvailable: true }, async (lock) => {
    if (!lock) return drawEnd("another tab");
    await engine.start();
    if (engine.account) drawHome();
    else signUp();
    return new Promise(() => null); // held while this page lives
  });
  if (steal) location.hash = "";
  hold().catch(() => { // another tab took over
    engine.stop("another tab");
  });
}

begin(location.hash === "#here");
navigator.serviceWorker?.register("/app/worker.js", { scope: "/" }).catch(() => null); // the page works without it

