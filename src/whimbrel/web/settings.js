// Settings: who sees that we are here, notifications, leaving this browser.

import { ICONS, h, icon } from "./dom.js";
import { shown } from "./words.js";

/** @param {import("./engine.js").Engine} engine @param {(text: string) => void} notice @param {() => void} left */
export function showSettings(engine, notice, left) {
  const hide = h("input", { type: "checkbox", checked: engine.hidden, onchange: () => {
    if (!engine.hide(hide.checked)) {
      hide.checked = engine.hidden;
      notice("This can be changed when you are online.");
    }
  } });
  const canNotify = typeof Notification !== "undefined";
  const notify = h("input", { type: "checkbox", checked: canNotify && Notification.permission === "granted" && !localStorage.getItem("quiet"), onchange: async () => {
    if (!notify.checked) return localStorage.setItem("quiet", "1");
    localStorage.removeItem("quiet");
    notify.checked = canNotify && (await Notification.requestPermission()) === "granted";
    if (!notify.checked) notice("Allow notifications for this page in the browser's own settings.");
  } });
  const heard = () => { hide.checked = engine.hidden; };
  engine.addEventListener("hidden", heard);
  const dialog = h("dialog", { class: "settings", "aria-label": "Settings", onclose: () => {
    engine.removeEventListener("hidden", heard);
    dialog.remove();
  } },
  h("header", {}, h("h2", {}, "Settings"),
    h("button", { class: "plain", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close))),
  h("p", { class: "quiet" }, `You are ${shown(engine.account?.address || "")}, device ${engine.account?.device}.`),
  h("label", { class: "choice" }, hide, h("span", {}, h("b", {}, "Hide when I am online"), h("small", {}, "Nobody sees it, nor when you were last seen. You do not see it of others either."))),
  h("label", { class: "choice" }, notify, h("span", {}, h("b", {}, "Notifications"), h("small", {}, "While this page is open in a tab."))),
  h("div", { class: "buttons" },
    h("button", { class: "plain", onclick: () => another() }, "Connect another app"),
    h("button", { class: "plain danger", onclick: () => sure() }, "Sign out here")));

  const another = () => {
    const make = h("button", { class: "primary", onclick: () => {
      if (!engine.link("XMPP")) return notice("This can be done when you are online.");
      make.disabled = true;
      engine.addEventListener("linked", (event) => made(/** @type {CustomEvent} */ (event).detail), { once: true });
    } }, "Make a key");
    dialog.replaceChildren(h("h2", {}, "Connect another app"),
      h("p", {}, "An XMPP app can use this account beside this browser. It gets a key of its own, and from then on both show every message."),
      h("div", { class: "buttons" }, h("button", { class: "plain", onclick: () => dialog.close() }, "Cancel"), make));
    make.focus();
  };
  /** @param {{device: number, key: string, code: string}} linked */
  const made = (linked) => {
    if (!linked.device) {
      dialog.close();
      return notice(linked.code === "busy" ? "This account has as many devices as it may have." : "No key was made. Try again.");
    }
    const host = /^[\d.]+$|^\[/.test(location.hostname) ? "localhost" : location.hostname;
    const close = h("button", { class: "primary", onclick: () => dialog.close() }, "Done");
    dialog.replaceChildren(h("h2", {}, "Log in there with"),
      h("dl", { class: "key" }, h("dt", {}, "Address (JID)"), h("dd", {}, `${engine.account?.address}@${host}`),
        h("dt", {}, "Password"), h("dd", {}, linked.key)),
      h("p", { class: "quiet" }, "The password is shown only now. Messages that are on their way come there, too."),
      h("div", { class: "buttons" }, close));
    close.focus();
  };

  const sure = () => {
    const button = h("button", { class: "primary bad", onclick: async () => {
      dialog.close();
      await engine.signOut();
      left();
    } }, "Sign out and delete");
    dialog.replaceChildren(h("h2", {}, "Sign out of this browser?"),
      h("p", {}, "The conversations kept here are deleted, and the server keeps no copy of what was delivered. Your contacts can still write to you; sign in again to read it."),
      h("div", { class: "buttons" }, h("button", { class: "plain", onclick: () => dialog.close() }, "Stay"), button));
    button.focus();
  };
  document.body.append(dialog);
  dialog.showModal();
}
