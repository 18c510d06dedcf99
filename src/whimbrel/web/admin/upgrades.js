// Live upgrades: what is in use, how far one is, what there has been, and the way back.

import { h } from "/app/dom.js";
import { ask } from "./api.js";
import { confirm, toast } from "./dialogs.js";
import { Asking } from "./lists.js";
import { facts } from "./overview.js";
import { Table } from "./table.js";
import { milliseconds, seconds, when } from "./words.js";

const GOOD = ["accepted", "ok"];
const PHASES = /** @type {Record<string, string>} */ ({
  pack: "is being packed", check: "is being checked", load: "is being loaded", canary: "is tried with a share of the accounts",
  watch: "has all accounts, and is watched", ended: "has ended",
});

/** @param {any} upgrade */
function result(upgrade) {
  if (upgrade.phase !== "ended") return h("span", { class: "tag warn" }, PHASES[upgrade.phase] ?? upgrade.phase);
  return h("span", { class: `tag ${GOOD.includes(upgrade.result) ? "good" : "bad"}` }, upgrade.result);
}

export class Upgrades extends Asking {
  title = "Upgrades";

  /** @param {{ may: (scope: string) => boolean, now: () => number }} house */
  constructor(house) {
    super();
    this.house = house;
    this.facts = h("dl", { class: "dl" });
    this.last = h("section", { class: "card" });
    this.history = new Table("What there has been", [
      { title: "began", cell: (u) => when(u.began_s * 1e6), kind: "when" },
      { title: "version", cell: (u) => u.version || u.place, kind: "text" },
      { title: "result", cell: result },
      { title: "why", cell: (u) => u.text, kind: "text wide" },
      { title: "by", cell: (u) => u.who, kind: "text wide" },
      { title: "longest pause", cell: (u) => milliseconds(u.pause_ms), kind: "n wide" },
    ], (u) => String(u.number), "No upgrade yet.");
    this.node = h("div", { class: "contents" }, this.problem, h("section", { class: "card" }, this.facts), this.last, h("section", { class: "card" }, this.history.node));
  }

  get buttons() {
    if (!this.house.may("operate")) return [];
    return [h("button", { class: "plain", onclick: () => confirm("Roll back", "An upgrade under way ends; else the version before this one comes back. Connections stay.", "Roll back", async () => {
      await ask("upgrades/rollback", { method: "POST", body: {} });
      toast("The rollback has begun.");
      await this.again();
    }) }, "Roll back")];
  }

  async load() {
    const [state, history] = await Promise.all([ask("upgrades"), ask("upgrades/history")]);
    facts(this.facts, [
      ["In use", state.number ? `${state.in_use}, upgrade ${state.number}` : `${state.in_use}, as installed`],
      ["Installed", state.installed],
      ["A rollback brings", state.before || "nothing: there is no version before"],
    ]);
    this.show_last(state.last);
    this.history.show(history.upgrades);
  }

  /** @param {any} last */
  show_last(last) {
    this.last.hidden = !last;
    if (!last) return;
    const steps = last.steps.map((/** @type {any} */ step) => h("li", {},
      h("span", { class: `tag ${step.result === "refused" ? "bad" : step.result === "ok" ? "good" : "warn"}` }, step.result),
      h("span", {}, h("strong", {}, step.name), " ", h("span", { class: "quiet" }, step.text), h("span", { class: "quiet number" }, step.seconds ? `, ${seconds(step.seconds)}` : ""))));
    const fresh = h("div", { class: "contents" },
      h("h2", {}, last.phase === "ended" ? "The last one" : "Under way"),
      h("p", {}, h("strong", {}, last.version || last.place), " ", result(last), " ", h("span", { class: "quiet" }, last.text)),
      last.share ? h("p", { class: "quiet" }, `${Math.round(100 * last.share)} % of the accounts have it; ${last.affected} messages were run again on the old version.`) : "",
      h("ol", { class: "checks" }, ...steps));
    const old = this.last.firstChild;
    if (!old || !old.isEqualNode(fresh)) this.last.replaceChildren(fresh);
  }
}
