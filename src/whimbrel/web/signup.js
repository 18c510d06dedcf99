// Sign-up: a number, a PIN, and this browser is a device of the account.

import { h } from "./dom.js";
import { COUNTRIES, address, country, errorText, shown } from "./words.js";

/** @param {string} path @param {any} body */
async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(errorText(content.error?.code || "internal"));
  return content;
}

/** The operator's own machine may show the PIN (only with the console sender).
 * @param {string} number */
async function localPin(number) {
  const answer = await fetch("/pins.json").catch(() => null);
  if (!answer?.ok) return "";
  const { pins } = await answer.json();
  return pins.find((/** @type {any} */ each) => each.number === number)?.pin || "";
}

/** @param {HTMLElement} root @param {(account: {address: string, device: number, key: string}) => void} welcome */
export function showSignup(root, welcome) {
  const problem = h("p", { class: "problem", role: "alert" });
  /** @param {() => Promise<void>} step @param {HTMLButtonElement} button */
  const attempt = async (step, button) => {
    problem.textContent = "";
    button.disabled = true;
    try {
      await step();
    } catch (error) {
      problem.textContent = error instanceof TypeError ? "The server cannot be reached." : /** @type {Error} */ (error).message;
    }
    button.disabled = false;
  };
  const card = h("section", { class: "card" });
  root.replaceChildren(h("main", { class: "welcome" },
    h("img", { src: "/app/bird.svg", alt: "", width: "72", height: "72" }),
    h("h1", {}, "Whimbrel"), h("p", { class: "quiet" }, "Check marks you can trust."), card));
  askNumber();

  function askNumber() {
    const code = h("select", { "aria-label": "Country", class: "code" },
      ...COUNTRIES.map(([name, digits]) => h("option", { value: digits }, `${name} ${digits}`)));
    code.value = country();
    const number = h("input", { type: "tel", name: "number", autocomplete: "tel-national",
      placeholder: "151 12345678", "aria-label": "Your phone number", required: true });
    const button = h("button", { class: "primary" }, "Send me a PIN");
    const form = h("form", { onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      attempt(async () => {
        const wanted = address(number.value, code.value);
        await post("/v1/signup/pin", { number: wanted });
        askPin(wanted);
      }, button);
    } }, h("label", {}, "Country", code), h("label", {}, "Your phone number", number), button, problem);
    card.replaceChildren(form);
    number.focus();
  }

  /** @param {string} wanted */
  function askPin(wanted) {
    const pin = h("input", { name: "pin", inputmode: "numeric", autocomplete: "one-time-code",
      maxlength: "8", placeholder: "12345", "aria-label": "PIN", class: "pin", required: true });
    const button = h("button", { class: "primary" }, "Start chatting");
    const hint = h("p", { class: "quiet hint" });
    const form = h("form", { onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      attempt(async () => {
        const made = await post("/v1/signup/verify", { number: wanted, pin: pin.value.trim(), device_name: "Browser" });
        welcome({ address: made.account, device: made.device, key: made.key });
      }, button);
    } }, h("p", {}, `A PIN is on its way to ${shown(wanted)}.`), h("label", {}, "PIN", pin), hint, button, problem,
    h("button", { type: "button", class: "plain", onclick: askNumber }, "Another number"));
    card.replaceChildren(form);
    pin.focus();
    localPin(wanted).then((known) => {
      if (!known) return;
      hint.replaceChildren(`This page runs on the server's own machine, so here it is: `,
        h("button", { type: "button", class: "chip", onclick: () => { pin.value = known; pin.focus(); } }, known));
    });
  }
}
