// The messages of docs/protocol.md as JSON arrays: a number, then the fields in order.

/** @typedef {Array<any>} Wire */

export const VERSION = 1;
export const SUBPROTOCOL = "whimbrel.1";

export const HELLO = 1, SUBMIT = 2, CONFIRM = 3, READ = 4, TYPING = 5, WATCH = 6, BLOCK = 7;
export const PING = 8, LINK = 9, UNLINK = 10, BYE = 11, HIDE = 12;
export const WELCOME = 32, STORED = 33, REFUSED = 34, MESSAGE = 35, COPY = 36, RECEIPT = 37;
export const FAILED = 38, TRIMMED = 39, END_OF_QUEUE = 40, READ_DONE = 41, PRESENCE = 43;
export const PONG = 45, LINKED = 46, REPLACED = 47, ERROR = 48;

/** Items carry `prev` and `q` first; also those that this version does not know. */
export const ITEMS = new Set([MESSAGE, COPY, RECEIPT, FAILED, TRIMMED]);
const OTHERS = new Set([
  TYPING, BLOCK, PING, UNLINK, HIDE, WELCOME, STORED, REFUSED, END_OF_QUEUE, READ_DONE, PRESENCE, PONG, LINKED,
  REPLACED, ERROR,
]);

/** @param {Wire} m */
export function isItem(m) {
  return ITEMS.has(m[0]) || (!OTHERS.has(m[0]) && Number.isInteger(m[1]) && Number.isInteger(m[2]));
}

/** Refusals after which the number is free: the same message again later. */
export const LATER = new Set(["busy", "rate-limited", "try-again"]);
