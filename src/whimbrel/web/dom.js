// Elements without markup: text becomes text nodes only, so that nothing anybody writes is code.

/** @param {string} tag @param {Record<string, any>} [facts] @param {...any} inside @returns {any} */
export function h(tag, facts = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node && typeof value !== "string") /** @type {any} */ (node)[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...inside.filter((part) => part !== undefined && part !== null && part !== false));
  return node;
}

/** @param {string[]} paths @param {string} label */
export function icon(paths, label = "") {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  if (label) svg.setAttribute("aria-label", label);
  else svg.setAttribute("aria-hidden", "true");
  for (const d of paths) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

export const ICONS = {
  back: ["M15 5l-7 7 7 7"],
  send: ["M4 12h15", "M13 6l6 6-6 6"],
  plus: ["M12 5v14", "M5 12h14"],
  more: ["M12 6v.01", "M12 12v.01", "M12 18v.01"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  clock: ["M12 8v4l3 2", "M12 4a8 8 0 100 16 8 8 0 000-16z"],
  one: ["M5 13l4 4L19 7"],
  two: ["M2 13l4 4L16 7", "M11 16l1 1L22 7"],
  alert: ["M12 8v5", "M12 16v.01", "M12 4a8 8 0 100 16 8 8 0 000-16z"],
};

const LINK = /\bhttps?:\/\/[^\s<>"']+/g;

/** Text with clickable links, and nothing else. @param {string} text */
export function linked(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(LINK)) {
    const url = match[0].replace(/[.,;:!?)\]}]+$/, "");
    parts.push(text.slice(at, match.index));
    parts.push(h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, url));
    at = match.index + url.length;
  }
  parts.push(text.slice(at));
  return parts.filter((part) => part !== "");
}
