// How figures and times are said. Pure functions.

/** At most seven characters: 999, 12,345, 1.2M. @param {number} value */
export function count(value) {
  if (value < 0) return "–";
  if (value < 10 && !Number.isInteger(value)) return value.toFixed(1);
  if (value < 100000) return Math.round(value).toLocaleString("en");
  for (const unit of ["", "k", "M", "G", "T"]) {
    if (value < 999.5) return (value < 100 ? value.toFixed(1) : Math.round(value)) + unit;
    value /= 1000;
  }
  return "very many";
}

/** @param {number} value */
export function milliseconds(value) {
  if (value < 0) return "–";
  if (value === 0) return "0 ms";
  if (value < 10) return `${value.toFixed(2)} ms`;
  return value < 1000 ? `${Math.round(value)} ms` : seconds(value / 1000);
}

/** Two units at most. @param {number} value */
export function seconds(value) {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(value % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Bytes. @param {number} value */
export function size(value) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1000) return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1024;
  }
  return `${value < 100 ? value.toFixed(1) : Math.round(value)} GiB`;
}

/** Since then, by the server's clock. @param {number} us @param {number} now */
export function ago(us, now) {
  return us ? `${seconds(Math.max(0, now - us) / 1e6)} ago` : "never";
}

/** Date and time of day. @param {number} us */
export function when(us) {
  const at = new Date(us / 1000);
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** What people write of a number, as addresses are kept. @param {string} text */
export function compact(text) {
  const bare = text.trim();
  if (!/^(\+|00|\d)/.test(bare)) return bare.toLowerCase();
  const digits = bare.replace(/[\s()/.-]/g, "");
  return digits.startsWith("00") ? `+${digits.slice(2)}` : digits.startsWith("+") ? digits : `+${digits}`;
}

export const FRONTS = /** @type {Record<string, string>} */ ({
  native: "own protocol", websocket: "browser", xmpp: "XMPP", "xmpp-websocket": "XMPP in a WebSocket",
  bosh: "XMPP over HTTP", component: "component", http: "HTTP",
});

export const QUEUES = /** @type {Record<string, string>} */ ({
  turns: "Waiting for a turn", writer: "Waiting for a commit", output: "Not read by a device", windows: "Not confirmed by a device",
  timers: "Timers", mailbox: "Longest mailbox", retries: "Open sends", inboxes: "Longest inbox",
});
