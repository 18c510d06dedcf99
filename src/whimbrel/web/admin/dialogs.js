// Questions and secrets: small dialogs that give the focus back.

import { h } from "/app/dom.js";

/** @param {HTMLDialogElement} dialog */
function open(dialog) {
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Ask before an act that cannot be taken back. @param {string} title @param {string} text @param {string} verb
 * @param {() => Promise<any>} act */
export function confirm(title, text, verb, act) {
  const problem = h("p", { class: "problem", role: "alert" });
  const go = h("button", { class: "plain danger" }, verb);
  const dialog = h("dialog", { "aria-label": title }, h("form", { onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      problem.textContent = /** @type {Error} */ (error).message;
      go.disabled = false;
    }
  } }, h("h2", {}, title), h("p", {}, text), problem,
  h("div", { class: "buttons" }, h("button", { class: "plain", type: "button", autofocus: true, onclick: () => dialog.close() }, "Leave it"), go)));
  open(dialog);
}

/** One line of text, and what is done with it. @param {string} title @param {string} label @param {string} verb
 * @param {(text: string) => Promise<any>} act */
export function prompt(title, label, verb, act) {
  const problem = h("p", { class: "problem", role: "alert" });
  const field = h("input", { autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: "64", required: true });
  const dialog = h("dialog", { "aria-label": title }, h("form", { onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      await act(field.value);
      dialog.close();
    } catch (error) {
      problem.textContent = /** @type {Error} */ (error).message;
    }
  } }, h("h2", {}, title), h("label", {}, label, field), problem,
  h("div", { class: "buttons" }, h("button", { class: "plain", type: "button", onclick: () => dialog.close() }, "Leave it"), h("button", { class: "primary" }, verb))));
  open(dialog);
}

/** Something that is told once. @param {string} title @param {[string, string][]} pairs @param {string} secret */
export function tell(title, pairs, secret) {
  const said = h("span", { class: "quiet", role: "status" });
  const dialog = h("dialog", { "aria-label": title }, h("div", {},
    h("h2", {}, title),
    h("dl", { class: "dl" }, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("p", { class: "secret" }, secret),
    h("p", { class: "quiet" }, "It is shown once. What is kept of it is a hash."),
    h("div", { class: "buttons" }, said,
      h("button", { class: "plain", onclick: async () => {
        await navigator.clipboard?.writeText(secret).then(() => { said.textContent = "Copied."; }, () => { said.textContent = "Copy it by hand."; });
      } }, "Copy"),
      h("button", { class: "primary", autofocus: true, onclick: () => dialog.close() }, "Done"))));
  open(dialog);
}

/** A word at the lower edge that goes by itself. @param {string} text */
export function toast(text) {
  document.querySelector(".toast")?.remove();
  const node = h("p", { class: "toast", role: "status" }, text);
  document.body.append(node);
  setTimeout(() => node.remove(), 4000);
}
