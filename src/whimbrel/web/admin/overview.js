// The overview: eight figures with their last minutes, queues, and who is busy, full or slow.

import { h } from "/app/dom.js";
import { Chart } from "./chart.js";
import { account, Table } from "./table.js";
import { count, FRONTS, milliseconds, QUEUES, size } from "./words.js";

/** name, history column, how it is said, unit, class
 * @type {[string, string, (n: number) => string, string, string][]} */
const TILES = [
  ["Accepted", "accepted_per_s", count, "a second", ""],
  ["Delivered", "delivered_per_s", count, "a second", ""],
  ["Turn, p99", "turn_p99_ms", milliseconds, "", "second"],
  ["Commit, p99", "commit_p99_ms", milliseconds, "", "second"],
  ["Waiting for a turn", "queue_length", count, "messages", ""],
  ["Sessions", "sessions", count, "here", ""],
  ["Processor", "cpu_percent", (n) => `${Math.round(n)} %`, "of one", "second"],
  ["Loop held up", "lag_max_ms", milliseconds, "", "second"],
];

class Tile {
  /** @param {typeof TILES[number]} tile */
  constructor([name, column, say, unit, kind]) {
    this.column = column;
    this.say = say;
    this.now = h("span", {}, "–");
    this.most = h("span", { class: "most" });
    this.chart = new Chart(name, kind);
    const big = h("p", { class: "big" }, this.now, unit && h("small", {}, unit), this.most);
    this.node = h("section", { class: "card tile" }, h("h2", {}, name), big, this.chart.node);
  }

  /** @param {any} history */
  show(history) {
    const values = history[this.column];
    this.now.textContent = this.say(values.at(-1) ?? 0);
    this.most.textContent = `≤ ${this.say(Math.max(0, ...values))}`;
    this.chart.show(values, this.say);
  }
}

/** @param {any} queue */
function share(queue) {
  if (!queue.limit) return "";
  const meter = h("div", { class: "meter" });
  const part = Math.min(1, queue.length / queue.limit);
  const fill = h("i");
  fill.style.width = `${(100 * part).toFixed(1)}%`;
  meter.append(fill);
  meter.title = `of ${count(queue.limit)}`;
  return meter;
}

export class Overview {
  title = "Overview";

  constructor() {
    this.tiles = TILES.map((tile) => new Tile(tile));
    this.alerts = h("div", { class: "grid-alerts" });
    this.queues = new Table("Queues", [
      { title: "queue", cell: (q) => QUEUES[q.name] ?? q.name, kind: "text" },
      { title: "longest", cell: (q) => (q.unit === "bytes" ? size(q.length) : count(q.length)), kind: "n" },
      { title: "of its limit", cell: share, kind: "wide" },
      { title: "all", cell: (q) => (q.unit === "bytes" ? size(q.total) : count(q.total)), kind: "n wide" },
      { title: "oldest", cell: (q) => milliseconds(q.age_ms), kind: "n" },
      { title: "in, a second", cell: (q) => count(q.arrived_per_s), kind: "n wide" },
      { title: "out, a second", cell: (q) => count(q.served_per_s), kind: "n" },
      { title: "whose", cell: (q) => account(q.state ? `${q.owner} ${q.state}` : q.owner), kind: "text wide" },
    ], (q) => q.name, "The server measures nothing.");
    this.busiest = new Table("Busiest actors", [
      { title: "account", cell: (a) => account(a.address), kind: "text" },
      { title: "messages a second", cell: (a) => count(a.per_s), kind: "n" },
      { title: "waiting", cell: (a) => count(a.waiting), kind: "n wide" },
    ], (a) => a.address, "Nobody is busy.");
    this.inboxes = new Table("Longest inboxes", [
      { title: "account", cell: (i) => account(i.address), kind: "text" },
      { title: "waiting", cell: (i) => count(i.waiting), kind: "n" },
    ], (i) => i.address, "Nothing waits for anybody.");
    this.fronts = new Table("Connections", [
      { title: "by", cell: (f) => FRONTS[f.front] ?? f.front, kind: "text" },
      { title: "open", cell: (f) => count(f.connections), kind: "n" },
      { title: "logged in", cell: (f) => count(f.logged_in), kind: "n" },
    ], (f) => f.front, "Nobody is connected.");
    this.readers = new Table("Slow readers", [
      { title: "who", cell: (r) => account(r.who), kind: "text" },
      { title: "not read", cell: (r) => size(r.unsent_bytes), kind: "n" },
      { title: "by", cell: (r) => FRONTS[r.front] ?? r.front, kind: "text wide" },
    ], (r) => `${r.who} ${r.front}`, "Everybody has read what was sent.");
    this.machine = h("dl", { class: "dl" });
    const card = (/** @type {Table} */ table) => h("section", { class: "card" }, table.node);
    this.node = h("div", { class: "contents" },
      this.alerts,
      h("div", { class: "grid" }, ...this.tiles.map((tile) => tile.node)),
      card(this.queues),
      h("div", { class: "pair" }, card(this.busiest), card(this.inboxes), card(this.fronts), card(this.readers)),
      h("section", { class: "card" }, h("h2", {}, "This machine"), this.machine));
  }

  /** @param {any} now @param {any} history */
  show(now, history) {
    for (const tile of this.tiles) tile.show(history);
    this.queues.show(now.queues);
    this.busiest.show(now.busiest);
    this.inboxes.show(now.inboxes);
    this.fronts.show(now.fronts);
    this.readers.show(now.readers);
    const { machine } = now;
    facts(this.machine, [
      ["Memory", size(machine.memory_mib * 1048576)],
      ["Free disk", size(machine.disk_free_mib * 1048576)],
      ["File descriptors", `${machine.descriptors_percent.toFixed(1)} % of those allowed`],
      ["Certificate", `${Math.floor(machine.certificate_days)} days left`],
      ["Actors in memory", count(now.actors)],
      ["Commits", `${count(now.traffic.commits_per_s)} a second, ${count(now.traffic.rows_per_s)} rows`],
    ]);
    this.alerts.replaceChildren(...now.alerts.map(alertCard));
    this.alerts.hidden = !now.alerts.length;
  }
}

/** Fill a list of terms, touching only what changed. @param {HTMLElement} list @param {[string, any][]} pairs */
export function facts(list, pairs) {
  const fresh = pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
  fresh.forEach((node, n) => {
    const old = list.children[n];
    if (!old) list.append(node);
    else if (!old.isEqualNode(node)) old.replaceWith(node);
  });
  while (list.children.length > fresh.length) list.lastChild?.remove();
}

/** @param {any} alert */
export function alertCard(alert) {
  return h("div", { class: `alert ${alert.severity}`, role: "alert" },
    h("strong", {}, `${alert.owner}: ${alert.text}`), h("span", { class: "why" }, alert.cause));
}
