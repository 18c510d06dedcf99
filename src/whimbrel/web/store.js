// Everything that has to outlive the page, in IndexedDB: the account and its key, the lines of
// all conversations, what is shown, and the numbers of the protocol (docs/protocol.md 4.12).

/** @typedef {{key?: number, peer: string, mine: boolean, device: number, c: number, id: number,
 *   at: number, body: any, state: number, code: string, upload?: string, piece?: number}} Line */
/** @typedef {{peer: string, unread: number, at: number, last: string, lastMine: boolean,
 *   lastState: number, lastKey: number, draft: string, delivered: number, read: number,
 *   seen: number, told: number, blocked: boolean}} Chat */
/** @typedef {{table: string, value?: any, key?: any, remove?: boolean}} Change */

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export class Store {
  /** @param {string} profile */
  constructor(profile) {
    this.name = profile ? `whimbrel-${profile}` : "whimbrel";
    /** @type {IDBDatabase} */
    this.db = /** @type {any} */ (null);
  }

  async open() {
    const request = indexedDB.open(this.name, 2);
    request.onupgradeneeded = (event) => {
      const db = request.result;
      if (event.oldVersion < 2) db.createObjectStore("file"); // by the key of its line
      if (event.oldVersion >= 1) return;
      db.createObjectStore("fact");
      db.createObjectStore("chat", { keyPath: "peer" });
      db.createObjectStore("shown");
      const lines = db.createObjectStore("line", { keyPath: "key" });
      lines.createIndex("peer", ["peer", "key"]);
    };
    this.db = await done(request);
    this.db.onversionchange = () => this.db.close();
    if (navigator.storage?.persist) navigator.storage.persist().catch(() => false);
  }

  /** All facts, chats and shown numbers, and our own last lines. */
  async load() {
    const all = this.db.transaction(["fact", "chat", "shown", "line"]);
    const facts = new Map();
    const table = all.objectStore("fact");
    const [names, values] = await Promise.all([done(table.getAllKeys()), done(table.getAll())]);
    names.forEach((name, n) => facts.set(name, values[n]));
    const shown = all.objectStore("shown");
    const [who, upto] = await Promise.all([done(shown.getAllKeys()), done(shown.getAll())]);
    const chats = await done(all.objectStore("chat").getAll());
    const last = await done(all.objectStore("line").openCursor(null, "prev"));
    return { facts, chats, shown: new Map(who.map((name, n) => /** @type {[string, number]} */ ([String(name), upto[n]]))), key: last ? Number(last.key) : 0 };
  }

  /** Our own lines that the server has not answered, or (all) the last thousand.
   * @param {number} device @param {boolean} all @returns {Promise<Line[]>} */
  async own(device, all) {
    const request = this.db.transaction("line").objectStore("line").openCursor(null, "prev");
    /** @type {Line[]} */
    const lines = [];
    await new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || lines.length >= 1000) return resolve(null);
        const line = cursor.value;
        if (line.mine && line.device === device && line.c && (all || line.state === 0)) lines.push(line);
        cursor.continue();
      };
    });
    return lines.sort((a, b) => a.c - b.c);
  }

  /** A file that is still on its way up. @param {number} key @returns {Promise<Blob | undefined>} */
  file(key) {
    return done(this.db.transaction("file").objectStore("file").get(key));
  }

  /** Lines whose files have not arrived. @returns {Promise<Line[]>} */
  async uploading() {
    const all = this.db.transaction(["file", "line"]);
    const keys = await done(all.objectStore("file").getAllKeys());
    const lines = await Promise.all(keys.map((key) => done(all.objectStore("line").get(key))));
    return lines.filter(Boolean);
  }

  /** The last lines of one conversation before a key, oldest first. @param {string} peer
   * @param {number} before @param {number} limit */
  async lines(peer, before, limit) {
    return (await this.some(IDBKeyRange.bound([peer, 0], [peer, before], false, true), "prev", limit)).reverse();
  }

  /** The first lines behind a key, oldest first. @param {string} peer @param {number} after
   * @param {number} limit */
  linesAfter(peer, after, limit) {
    return this.some(IDBKeyRange.bound([peer, after], [peer, Infinity], true, false), "next", limit);
  }

  /** @param {IDBKeyRange} range @param {IDBCursorDirection} way @param {number} limit
   * @returns {Promise<Line[]>} */
  async some(range, way, limit) {
    const index = this.db.transaction("line").objectStore("line").index("peer");
    const request = index.openCursor(range, way);
    /** @type {Line[]} */
    const lines = [];
    await new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || lines.length >= limit) return resolve(null);
        lines.push(cursor.value);
        cursor.continue();
      };
    });
    return lines;
  }

  /** One transaction, on disk when this resolves. @param {Change[]} changes */
  commit(changes) {
    return new Promise((resolve, reject) => {
      const names = [...new Set(changes.map((change) => change.table))];
      if (!names.length) return resolve(null);
      const work = this.db.transaction(names, "readwrite", { durability: "strict" });
      for (const { table, value, key, remove } of changes) {
        const target = work.objectStore(table);
        if (remove) target.delete(key);
        else if (key !== undefined) target.put(value, key);
        else target.put(value);
      }
      work.oncomplete = () => resolve(null);
      work.onabort = () => reject(work.error);
      work.onerror = () => reject(work.error);
    });
  }

  async forget() {
    this.db.close();
    await done(indexedDB.deleteDatabase(this.name));
  }
}
