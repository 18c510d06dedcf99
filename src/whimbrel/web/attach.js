// Choosing what to send: files by button, drag or paste, with a look before; and voices.

import { ICONS, h, icon } from "./dom.js";
import { bytes, seconds } from "./words.js";

const MANY = 20;
const VOICE_MAX_S = 15 * 60;

/** Shows what was chosen, asks for a caption; each file goes into a message of its own.
 * @param {File[]} files @param {(file: File, caption: string) => void} send */
export function lookBefore(files, send) {
  let left = files.slice(0, MANY);
  /** @type {string[]} */ const addresses = [];
  const list = h("ul", { class: "chosen" });
  const caption = h("input", { type: "text", placeholder: "Add a caption", "aria-label": "Caption", maxlength: "1000", autocomplete: "off" });
  const button = h("button", { class: "primary" }, "Send");
  const draw = () => {
    if (!left.length) return dialog.close();
    button.textContent = left.length > 1 ? `Send ${left.length}` : "Send";
    list.replaceChildren(...left.map((file) => h("li", {}, picture(file),
      h("span", {}, h("b", { dir: "auto" }, file.name), h("small", {}, bytes(file.size))),
      h("button", { type: "button", class: "plain", "aria-label": `Not ${file.name}`, onclick: () => { left = left.filter((each) => each !== file); draw(); } }, icon(ICONS.close)))));
  };
  /** @param {File} file */
  const picture = (file) => {
    if (!file.type.startsWith("image/")) return h("span", { class: "kind" }, icon(file.type.startsWith("video/") ? ICONS.play : ICONS.paper));
    const address = URL.createObjectURL(file);
    addresses.push(address);
    return h("img", { src: address, alt: "" });
  };
  const dialog = h("dialog", {
    class: "look", "aria-label": "Send files",
    onclose: () => { addresses.forEach((address) => URL.revokeObjectURL(address)); dialog.remove(); },
  }, h("form", { method: "dialog", onsubmit: () => left.forEach((file, n) => send(file, n ? "" : caption.value.trim())) },
    h("h2", {}, left.length > 1 ? "Send these files?" : "Send this file?"), list, caption,
    h("div", { class: "buttons" }, h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Cancel"), button)));
  document.body.append(dialog);
  draw();
  dialog.showModal();
  caption.focus();
}

/** Files of a drag or a paste. @param {DataTransfer | null} transfer @returns {File[]} */
export const filesOf = (transfer) => [...(transfer?.files || [])].filter((file) => file.size > 0);

/** A bar in place of the composer while a voice is recorded. */
export class Recorder {
  /** @param {(file: File, seconds: number) => void} send @param {() => void} end @param {(text: string) => void} complain */
  constructor(send, end, complain) {
    this.send = send;
    this.end = end;
    this.complain = complain;
    this.time = h("span", { class: "time", role: "timer" }, "0:00");
    this.node = h("div", { class: "recorder" },
      h("button", { class: "plain", type: "button", "aria-label": "Throw away", onclick: () => this.stop(false) }, icon(ICONS.close)),
      h("span", { class: "dot", "aria-hidden": "true" }), this.time, h("span", { class: "quiet" }, "Recording"),
      h("button", { class: "send", type: "button", "aria-label": "Send the voice message", onclick: () => this.stop(true) }, icon(ICONS.send)));
    /** @type {BlobPart[]} */ this.parts = [];
    this.wanted = false;
  }

  async start() {
    if (!navigator.mediaDevices || typeof MediaRecorder === "undefined") {
      this.complain("This browser gives no microphone here. It needs HTTPS.");
      return this.end();
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      this.complain("The microphone may not be used. Allow it for this page.");
      return this.end();
    }
    const type = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"].find((each) => MediaRecorder.isTypeSupported(each));
    this.media = new MediaRecorder(this.stream, { mimeType: type, audioBitsPerSecond: 32_000 });
    this.media.ondataavailable = (event) => this.parts.push(event.data);
    this.media.onstop = () => this.finish();
    this.media.start(1_000);
    this.began = performance.now();
    this.clock = setInterval(() => {
      const passed = (performance.now() - (this.began || 0)) / 1000;
      this.time.textContent = seconds(passed);
      if (passed > VOICE_MAX_S) this.stop(true);
    }, 250);
  }

  /** @param {boolean} wanted */
  stop(wanted) {
    this.wanted = wanted;
    clearInterval(this.clock);
    if (this.media && this.media.state !== "inactive") this.media.stop();
    else this.end();
    for (const track of this.stream?.getTracks() || []) track.stop();
  }

  finish() {
    const type = String(this.media?.mimeType || "audio/webm").split(";")[0];
    const passed = (performance.now() - (this.began || 0)) / 1000;
    if (this.wanted && this.parts.length) {
      const end = type.split("/")[1] === "mp4" ? "m4a" : type.split("/")[1];
      this.send(new File(this.parts, `voice.${end}`, { type }), Math.round(passed * 10) / 10);
    }
    this.end();
  }
}
