// Files in a conversation: photos, films, voices and documents, and the view that fills the page.
// Law: what a stranger names is loaded only from this server; an address elsewhere is a link.

import { ICONS, h, icon } from "./dom.js";
import { family, waits } from "./media.js";
import { bytes, seconds } from "./words.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./store.js").Line} Line */

const WIDTH = 320, HEIGHT = 380, LEAST = 96;

/** A file of this server, or "". @param {any} media */
function ours(media) {
  const link = String(media?.link || "");
  return /^\/m\/[\w-]+\/[^/\\?#]+$/.test(link) ? link : "";
}

/** A whole https address, or "". @param {any} media */
function elsewhere(media) {
  const link = String(media?.link || "");
  return /^https:\/\/[!-~]+$/.test(link) && URL.canParse(link) ? link : "";
}

/** @param {any} media */
function thumbnail(media) {
  const packed = String(media?.thumbnail || "");
  if (!packed || packed.length > 11_000 || !/^[A-Za-z0-9+/]+=*$/.test(packed)) return "";
  return `data:image/${packed.startsWith("/9j/") ? "jpeg" : "webp"};base64,${packed}`;
}

/** @param {any} media @param {HTMLElement} box */
function shape(media, box) {
  const width = Number(media.width) || 4, height = Number(media.height) || 3;
  const scale = Math.min(WIDTH / width, HEIGHT / height);
  box.style.width = `${Math.max(LEAST, Math.round(width * scale))}px`;
  box.style.aspectRatio = `${Math.max(LEAST, width * scale)} / ${Math.max(LEAST, height * scale)}`;
}

/** The part of a bubble that shows the file.
 * @param {Engine} engine @param {Line} line @param {(line: Line) => void} open */
export function fileBox(engine, line, open) {
  const media = line.body?.media;
  if (!media || typeof media !== "object" || Array.isArray(media)) return "";
  const own = engine.uploads.pictures.get(line.key || 0) || "";
  const link = ours(media);
  const kind = !link && !own ? "file" : family(media);
  const box = kind === "photo" ? photo(line, media, own || link, open) : kind === "film" ? film(line, media, open)
    : kind === "sound" ? sound(media, own || link) : paper(media, link);
  if (waits(line)) box.append(progress(engine, line));
  return box;
}

/** @param {Line} line @param {any} media @param {string} source @param {(line: Line) => void} open */
function photo(line, media, source, open) {
  const small = thumbnail(media);
  const full = h("img", { src: source, alt: media.name ? `Photo: ${media.name}` : "Photo", loading: "lazy", decoding: "async", draggable: false });
  full.onerror = () => full.replaceWith(h("span", { class: "gone" }, "no longer on the server"));
  const box = h("button", { class: "photo", type: "button", "aria-label": "Open the photo", onclick: () => open(line) },
    small && h("img", { src: small, alt: "", class: "blurred" }), full);
  shape(media, box);
  return box;
}

/** @param {Line} line @param {any} media @param {(line: Line) => void} open */
function film(line, media, open) {
  const small = thumbnail(media);
  const box = h("button", { class: "photo film", type: "button", "aria-label": "Play the video", onclick: () => open(line) },
    small && h("img", { src: small, alt: "" }), h("span", { class: "play" }, icon(ICONS.play)),
    h("span", { class: "long" }, media.duration ? seconds(media.duration) : bytes(media.size)));
  shape(media.width ? media : { width: 16, height: 9 }, box);
  return box;
}

/** @param {any} media @param {string} source */
function sound(media, source) {
  const audio = new Audio();
  audio.preload = "none";
  const total = () => (Number.isFinite(audio.duration) && audio.duration > 0 ? audio.duration : Number(media.duration) || 0);
  const time = h("span", { class: "time" }, media.duration ? seconds(media.duration) : "");
  const bar = h("input", { type: "range", min: "0", max: "1000", value: "0", "aria-label": "Position", oninput: () => { audio.currentTime = total() * bar.value / 1000; } });
  const button = h("button", { class: "plain start", type: "button", "aria-label": "Play", onclick: () => {
    if (!audio.src) audio.src = source;
    if (audio.paused) {
      for (const other of document.querySelectorAll(".sound")) if (other !== box) other.dispatchEvent(new Event("hush"));
      audio.play().catch(() => { time.textContent = "no longer on the server"; });
    } else audio.pause();
  } }, icon(ICONS.play));
  const showState = () => {
    button.replaceChildren(icon(audio.paused ? ICONS.play : ICONS.pause));
    button.setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  };
  audio.onplay = audio.onpause = showState;
  audio.ontimeupdate = () => {
    bar.value = String(total() ? Math.round(audio.currentTime / total() * 1000) : 0);
    time.textContent = seconds(audio.currentTime);
  };
  audio.onended = () => { audio.currentTime = 0; showState(); };
  const box = h("div", { class: "sound" }, button, bar, time);
  box.addEventListener("hush", () => audio.pause());
  return box;
}

/** @param {any} media @param {string} link */
function paper(media, link) {
  const away = link ? "" : elsewhere(media);
  const name = String(media.name || (away && new URL(away).host) || "File");
  const facts = [bytes(media.size), away && `on ${new URL(away).host}`].filter(Boolean).join(" · ");
  const inside = [icon(ICONS.paper), h("span", {}, h("b", { dir: "auto" }, name), h("small", {}, facts))];
  return link ? h("a", { class: "paper", href: link, download: name, target: "_blank", rel: "noopener noreferrer" }, ...inside)
    : away ? h("a", { class: "paper", href: away, target: "_blank", rel: "noopener noreferrer nofollow" }, ...inside)
      : h("div", { class: "paper" }, ...inside);
}

/** @param {Engine} engine @param {Line} line */
function progress(engine, line) {
  const part = engine.uploads.progress.get(line.key || 0) || 0;
  const bar = h("progress", { max: "1", value: part, "aria-label": "Sending the file" });
  const stop = h("button", { class: "plain", type: "button", "aria-label": "Do not send this file", onclick: (/** @type {Event} */ event) => {
    event.stopPropagation();
    engine.cancelUpload(line);
  } }, icon(ICONS.close));
  return h("span", { class: "up" }, bar, stop);
}

/** Moves the bar of a line that is shown. @param {HTMLElement} row @param {number} part */
export function moveBar(row, part) {
  const bar = row.querySelector("progress");
  if (bar) bar.value = part;
}

/** Photos and films of a conversation, one at a time, over the whole page. */
export class Viewer {
  /** @param {Engine} engine @param {Line[]} lines @param {Line} line */
  constructor(engine, lines, line) {
    this.engine = engine;
    this.lines = lines.filter((each) => ["photo", "film"].includes(family(each.body?.media)) && this.source(each));
    this.at = this.lines.findIndex((each) => each.key === line.key);
    this.place = h("div", { class: "place" });
    this.title = h("span", { dir: "auto" });
    this.save = h("a", { class: "plain", "aria-label": "Save", title: "Save" }, icon(ICONS.save));
    this.before = h("button", { class: "plain before", "aria-label": "The one before", onclick: () => this.turn(-1) }, icon(ICONS.back));
    this.after = h("button", { class: "plain after", "aria-label": "The next one", onclick: () => this.turn(1) }, icon(ICONS.next));
    this.dialog = h("dialog", {
      class: "viewer", "aria-label": "Photo",
      onclose: () => this.dialog.remove(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "ArrowLeft") this.turn(-1);
        if (event.key === "ArrowRight") this.turn(1);
      },
      onclick: (/** @type {Event} */ event) => { if (event.target === this.place || event.target === this.dialog) this.dialog.close(); },
    }, h("header", {}, this.title, this.save,
      h("button", { class: "plain", "aria-label": "Close", onclick: () => this.dialog.close() }, icon(ICONS.close))),
    this.before, this.place, this.after);
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.draw();
  }

  /** @param {Line} line */
  source(line) {
    return this.engine.uploads.pictures.get(line.key || 0) || ours(line.body?.media);
  }

  /** @param {number} step */
  turn(step) {
    if (!this.lines[this.at + step]) return;
    this.at += step;
    this.draw();
  }

  /** Why it cannot be shown. @param {string} source */
  async explain(source) {
    const answer = await fetch(source, { method: "HEAD" }).catch(() => null);
    this.place.replaceChildren(h("p", {}, answer?.ok ? "This browser cannot show this file. Save it, and open it with another program."
      : answer ? "This file is no longer on the server." : "The server cannot be reached."));
  }

  draw() {
    const line = this.lines[this.at];
    if (!line) return this.dialog.close();
    const media = line.body.media, source = this.source(line);
    const kind = family(media);
    const shown = kind === "film" ? h("video", { src: source, controls: true, autoplay: true, playsInline: true })
      : h("img", { src: source, alt: media.name ? `Photo: ${media.name}` : "Photo" });
    shown.onerror = () => this.explain(source);
    this.place.replaceChildren(shown);
    if (line.body.text) this.place.append(h("p", { dir: "auto" }, String(line.body.text)));
    this.title.textContent = String(media.name || "");
    this.save.href = source;
    this.save.download = String(media.name || "file");
    this.before.hidden = !this.lines[this.at - 1];
    this.after.hidden = !this.lines[this.at + 1];
  }
}
