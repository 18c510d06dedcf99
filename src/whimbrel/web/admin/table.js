// Tables that are filled anew every second without losing their rows: what has the focus keeps it.

import { h } from "/app/dom.js";

/** @typedef {{ title: string, cell: (row: any) => any, kind?: string }} Column kind: classes of its cells */

export class Table {
  /** @param {string} caption @param {Column[]} columns @param {(row: any) => string} key @param {string} nothing */
  constructor(caption, columns, key, nothing) {
    this.columns = columns;
    this.key = key;
    /** @type {Map<string, HTMLTableRowElement>} */
    this.rows = new Map();
    this.body = h("tbody");
    const heads = columns.map((column) => h("th", { scope: "col", class: column.kind ?? "" }, column.title));
    this.table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...heads)), this.body);
    this.nothing = h("p", { class: "nothing" }, nothing);
    this.node = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, this.table, this.nothing);
    this.show([]);
  }

  /** @param {any[]} items */
  show(items) {
    const kept = new Map();
    const held = this.body.contains(document.activeElement) ? document.activeElement : null;
    items.forEach((item, place) => {
      const key = this.key(item);
      const row = this.rows.get(key) ?? h("tr", {}, ...this.columns.map((column) => h("td", { class: column.kind ?? "" })));
      kept.set(key, row);
      this.columns.forEach((column, n) => put(row.cells[n], column.cell(item)));
      if (this.body.rows[place] !== row) this.body.insertBefore(row, this.body.rows[place] ?? null);
    });
    for (const [key, row] of this.rows) if (!kept.has(key)) row.remove();
    this.rows = kept;
    // A row that rises is put in anew, and what is put in anew has lost the focus.
    if (held instanceof HTMLElement && held.isConnected && held !== document.activeElement) held.focus({ preventScroll: true });
    this.table.tHead.hidden = !items.length;
    this.nothing.hidden = items.length > 0;
  }
}

/** Change a cell only where it changed: text in place, an element if it says something else.
 * @param {HTMLElement} cell @param {any} value */
function put(cell, value) {
  if (value instanceof Node) {
    const old = cell.firstChild;
    if (old && old.isEqualNode(value)) return;
    cell.replaceChildren(value);
  } else if (cell.textContent !== String(value)) cell.textContent = String(value);
}

/** A link to an account's page, or plain text where there is none. @param {string} address */
export function account(address) {
  if (!address || address.startsWith("(") || address.startsWith("the ") || address.includes(" ")) return address;
  return h("a", { href: `#users/${encodeURIComponent(address)}` }, address);
}
