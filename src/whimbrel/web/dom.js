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
  next: ["M9 5l7 7-7 7"],
  clip: ["M19 11l-7.5 7.5a4.5 4.5 0 01-6.4-6.4L13 4.3a3 3 0 014.2 4.2l-7.6 7.6a1.5 1.5 0 01-2.1-2.1l7-7"],
  voice: ["M12 4a2.5 2.5 0 00-2.5 2.5v5a2.5 2.5 0 005 0v-5A2.5 2.5 0 0012 4z", "M6 11.5a6 6 0 0012 0", "M12 17.500v3"],
  play: ["M8 5.500v13l11-6.500z"],
  pause: ["M8 6v12", "M16 6v12"],
  paper: ["M7 3h7l4 4v14H7z", "M14 3v4h4"],
  save: ["M12 4v11", "M7 11l5 5 5-5", "M5 20h14"],
  gear: ["M12 9a3 3 0 100 6 3 3 0 000-6z", "M12 3v3M12 18v3M3 12h3M18 12h3M5.600 5.600l2.200 2.200M16.200 16.200l2.200 2.200M18.400 5.600l-2.200 2.200M7.800 16.200l-2.200 2.200"],
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
