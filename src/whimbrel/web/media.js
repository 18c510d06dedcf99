// Files on their way up (docs/media.md). Law: a file that was chosen is on disk before it is
// shown, so it goes on after a reload; its message gets a number when the file has arrived, so
// that a big film holds no text back.

import { FAILED, QUEUED, UPLOADING } from "./engine.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./store.js").Line} Line */

const PIECE = 1024 * 1024;
const HASHED_MAX = 64 * 1024 * 1024; // a checksum needs the whole file in memory
const LATER = new Set(["busy", "try-again", "rate-limited", "idle-timeout", "no-space", "replaced"]);
const AFRESH = new Set(["expired", "not-found"]);
const DAMAGED_MAX = 3;

class Refusal extends Error {
  /** @param {string} code @param {number} wait seconds @param {number} offset */
  constructor(code, wait, offset) {
    super(code);
    this.code = code;
    this.wait = wait;
    this.offset = offset;
  }
}

export class Uploads {
  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
    /** @type {Map<number, string>} */ this.pictures = new Map(); // blob: addresses of own files
    /** @type {Map<number, number>} */ this.progress = new Map(); // 0 .. 1
    /** @type {Map<number, AbortController>} */ this.running = new Map();
    /** @type {Map<string, Promise<void>>} */ this.before = new Map(); // of each person: in order
  }

  /** What an earlier visit has left. @param {Line[]} lines */
  async resume(lines) {
    for (const line of lines) {
      const file = await this.engine.store.file(line.key || 0);
      if (file) this.go(line, file);
      else this.fail(line, "undeliverable");
    }
  }

  /** A line with a file of one's own: kept, shown, sent up.
   * @param {Line} line @param {Blob} file */
  begin(line, file) {
    this.look(line.key || 0, file);
    this.go(line, file);
  }

  /** An address of the file itself, for showing it before the server has it.
   * @param {number} key @param {Blob} file */
  look(key, file) {
    if (!this.pictures.has(key)) this.pictures.set(key, URL.createObjectURL(file));
  }

  /** @param {Line} line */
  cancel(line) {
    const key = line.key || 0;
    this.running.get(key)?.abort();
    this.running.delete(key);
    if (line.upload) fetch(line.upload, { method: "DELETE" }).catch(() => null);
    this.forget(key);
  }

  /** @param {number} key */
  forget(key) {
    const picture = this.pictures.get(key);
    if (picture) URL.revokeObjectURL(picture);
    this.pictures.delete(key);
    this.progress.delete(key);
  }

  stop() {
    for (const running of this.running.values()) running.abort();
    this.running.clear();
  }

  /** Files for one person go up in the order in which they were chosen.
   * @param {Line} line @param {Blob} file */
  go(line, file) {
    const key = line.key || 0;
    if (this.running.has(key)) return;
    const stop = new AbortController();
    this.running.set(key, stop);
    this.look(key, file);
    const before = this.before.get(line.peer) || Promise.resolve();
    this.before.set(line.peer, before.then(() => this.persist(line, file, stop)));
  }

  /** @param {Line} line @param {Blob} file @param {AbortController} stop */
  async persist(line, file, stop) {
    const key = line.key || 0;
    let tries = 0, damaged = 0;
    while (!stop.signal.aborted) {
      try {
        const facts = await this.carry(line, file, stop.signal, () => { tries = 0; });
        this.running.delete(key);
        this.progress.delete(key);
        return await this.engine.uploaded(line, { ...line.body.media, ...facts });
      } catch (error) {
        if (stop.signal.aborted) return;
        const known = error instanceof Refusal;
        if (known && AFRESH.has(error.code) && line.upload) line.upload = "";
        else if (known && error.code === "bad-checksum" && ++damaged < DAMAGED_MAX) line.upload = "";
        else if (known && !LATER.has(error.code)) {
          this.running.delete(key);
          return this.fail(line, error.code);
        }
        const wait = known && error.wait ? error.wait * 1000 : Math.min(30_000, 500 * 2 ** tries++);
        await this.engine.pause(wait, stop.signal);
      }
    }
  }

  /** From wherever it stands to the end; returns what goes into the message.
   * @param {Line} line @param {Blob} file @param {AbortSignal} signal @param {() => void} moved */
  async carry(line, file, signal, moved) {
    let offset = 0;
    if (line.upload) offset = Number((await this.ask(line.upload, { method: "HEAD", signal })).headers.get("Upload-Offset"));
    else await this.slot(line, file, signal);
    const upload = /** @type {string} */ (line.upload);
    while (offset < file.size) {
      const piece = file.slice(offset, offset + Math.min(PIECE, line.piece || PIECE));
      try {
        const answer = await this.ask(upload, {
          method: "PATCH", body: piece, signal, headers: { "Upload-Offset": String(offset), "Content-Type": "application/octet-stream" },
        });
        offset = Number(answer.headers.get("Upload-Offset"));
      } catch (error) {
        if (!(error instanceof Refusal && error.code === "wrong-offset")) throw error;
        offset = error.offset;
      }
      moved();
      this.show(line, offset / file.size);
    }
    this.show(line, 1);
    return (await this.ask(`${upload}/done`, { method: "POST", signal })).json();
  }

  /** @param {Line} line @param {Blob} file @param {AbortSignal} signal */
  async slot(line, file, signal) {
    const { name, type, size } = line.body.media;
    const answer = await this.ask("/v1/media", {
      method: "POST", signal,
      headers: { "Content-Type": "application/json", Authorization: this.engine.proof() },
      body: JSON.stringify({ name, type, size, sha256: await digest(file), recipients: 1 }),
    });
    const slot = await answer.json();
    line.upload = slot.upload;
    line.piece = slot.chunk_max;
    await this.engine.write([{ table: "line", value: line }]);
  }

  /** @param {string} path @param {RequestInit} how */
  async ask(path, how) {
    const answer = await fetch(path, how);
    if (answer.ok) return answer;
    const { error } = await answer.json().catch(() => ({}));
    const code = error?.code || (answer.status === 404 ? "not-found" : answer.status === 410 ? "expired" : "internal");
    throw new Refusal(code, error?.retry_after_s || 0, Number(answer.headers.get("Upload-Offset") || 0));
  }

  /** @param {Line} line @param {number} part */
  show(line, part) {
    this.progress.set(line.key || 0, part);
    this.engine.tell("progress", line);
  }

  /** @param {Line} line @param {string} code */
  fail(line, code) {
    line.state = FAILED;
    line.code = code;
    line.upload = "";
    this.engine.changed(line);
  }

  /** The person wants it once more. @param {Line} line */
  async again(line) {
    const file = await this.engine.store.file(line.key || 0);
    if (!file) return;
    line.state = UPLOADING;
    line.code = "";
    await this.engine.changed(line);
    this.go(line, file);
  }
}

/** @param {Blob} file */
async function digest(file) {
  if (file.size > HASHED_MAX || !crypto.subtle) return undefined;
  const sum = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a message says of a file before the server has looked at it: enough to show it.
 * @param {File} file @param {number} [seconds] */
export async function facts(file, seconds) {
  const type = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(file.type.split(";")[0]) ? file.type.split(";")[0] : "application/octet-stream";
  /** @type {any} */
  const found = { name: file.name, type, size: file.size };
  if (seconds) found.duration = seconds;
  if (type.startsWith("image/")) {
    const picture = await createImageBitmap(file).catch(() => null);
    if (picture) [found.width, found.height] = [picture.width, picture.height];
    picture?.close();
  }
  return found;
}

/** photo, film, sound or file: how it is shown. @param {any} media */
export function family(media) {
  const [kind] = String(media?.type || "").split("/");
  return kind === "image" ? "photo" : kind === "video" ? "film" : kind === "audio" ? "sound" : "file";
}

/** Is this line still waiting for its file? @param {Line} line */
export const waits = (line) => line.state === UPLOADING || (line.state === QUEUED && !line.c);
