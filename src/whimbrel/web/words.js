// What people read: errors by their code, times, numbers, marks.

import { DELIVERED, FAILED, ON_SERVER, QUEUED, SEEN, UPLOADING } from "./engine.js";
import { family } from "./media.js";

/** @type {Record<string, string>} */
const ERRORS = {
  "unknown-recipient": "Nobody with this number uses this server.",
  "bad-address": "This is not a number or a name.",
  "body-too-big": "This message is too long.",
  "bad-message": "The server could not read this message.",
  "too-old": "It was sent before, by an older copy of this page.",
  expired: "Nobody collected it in time.",
  trimmed: "Too many messages were waiting for this person.",
  undeliverable: "It could not be delivered.",
  "rate-limited": "Too many tries. Wait a little.",
  busy: "The server is busy. Try again in a moment.",
  "try-again": "The server is not ready. Try again in a moment.",
  "pin-wrong": "This PIN is not right, or it has expired.",
  "bad-number": "This is not a telephone number that can receive a PIN.",
  "too-big": "This file is too big for this server.",
  "wrong-type": "This kind of file is not taken here, or it is damaged.",
  "quota-exceeded": "You have sent as much as you may for now.",
  "bad-checksum": "The file was damaged on its way.",
  "no-space": "The server has no room for files at the moment.",
  "not-authorized": "This browser is signed out.",
  internal: "Something went wrong on the server.",
};

/** @param {string} code */
export const errorText = (code) => ERRORS[code] || `It was refused (${code}).`;

/** @param {number} state @param {string} code */
export function markText(state, code) {
  switch (state) {
    case UPLOADING: return "sending the file";
    case QUEUED: return "waiting to be sent";
    case ON_SERVER: return "on the server";
    case DELIVERED: return "delivered";
    case SEEN: return "read";
    case FAILED: return `not delivered: ${errorText(code)}`;
  }
  return "";
}

/** A message in one line. @param {any} body */
export function preview(body) {
  if (body?.text) return String(body.text);
  if (!body?.media) return "";
  const kind = family(body.media);
  return kind === "photo" ? "Photo" : kind === "film" ? "Video" : kind === "sound" ? "Voice message" : String(body.media.name || "File");
}

/** @param {number} count */
export function bytes(count) {
  if (!(count >= 0)) return "";
  if (count < 1_000) return `${count} bytes`;
  return count < 1_000_000 ? `${Math.round(count / 1_000)} KB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

/** 75 is 1:15. @param {number} count */
export function seconds(count) {
  const whole = Math.max(0, Math.round(count) || 0);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} us */
const date = (us) => new Date(us / 1000);
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** @param {number} us */
export const clock = (us) => CLOCK.format(date(us));

/** @param {number} us */
export const dayKey = (us) => date(us).toDateString();

/** @param {number} us */
export function day(us) {
  const ago = (new Date().setHours(0, 0, 0, 0) - date(us).setHours(0, 0, 0, 0)) / 86_400_000;
  return ago <= 0 ? "Today" : ago < 1.5 ? "Yesterday" : DAY.format(date(us));
}

/** In the list: the time today, then the day. @param {number} us */
export const when = (us) => (dayKey(us) === new Date().toDateString() ? clock(us) : SHORT.format(date(us)));

/** @param {number} us */
export function lastSeen(us) {
  if (!us) return "";
  const minutes = Math.floor((Date.now() - us / 1000) / 60_000);
  if (minutes < 1) return "last seen just now";
  if (minutes < 60) return `last seen ${minutes} min ago`;
  return dayKey(us) === new Date().toDateString() ? `last seen at ${clock(us)}` : `last seen ${SHORT.format(date(us))}`;
}

/** +4915112345678 in groups, names as they are. @param {string} address */
export const shown = (address) => (address.startsWith("+") ? address.replace(/^(\+\d{2})(\d{3})(\d+)$/, "$1 $2 $3") : address);

/** "0151 234" with a country code, or a name. @param {string} text @param {string} code */
export function address(text, code) {
  const digits = text.replace(/[\s().\-\/]/g, "");
  if (/^\+\d+$/.test(digits)) return digits;
  if (/^00\d+$/.test(digits)) return "+" + digits.slice(2);
  if (/^\d+$/.test(digits)) return code + digits.replace(/^0+/, "");
  return text.trim().toLowerCase();
}

/** Colours of faces, by address. @param {string} text */
export function tint(text) {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + letter.charCodeAt(0)) % 6;
  return `tint-${sum}`;
}

/** @param {string} text */
export const initials = (text) => (text.startsWith("+") ? text.slice(-2) : text.slice(0, 2).toUpperCase());

/** name, code */
export const COUNTRIES = [
  ["Argentina", "+54"], ["Australia", "+61"], ["Austria", "+43"], ["Bangladesh", "+880"],
  ["Belgium", "+32"], ["Brazil", "+55"], ["Canada", "+1"], ["Chile", "+56"], ["China", "+86"],
  ["Colombia", "+57"], ["Czechia", "+420"], ["Denmark", "+45"], ["Egypt", "+20"],
  ["Finland", "+358"], ["France", "+33"], ["Germany", "+49"], ["Ghana", "+233"], ["Greece", "+30"],
  ["Hungary", "+36"], ["Iceland", "+354"], ["India", "+91"], ["Indonesia", "+62"],
  ["Ireland", "+353"], ["Israel", "+972"], ["Italy", "+39"], ["Japan", "+81"], ["Kenya", "+254"],
  ["Korea", "+82"], ["Malaysia", "+60"], ["Mexico", "+52"], ["Morocco", "+212"],
  ["Netherlands", "+31"], ["New Zealand", "+64"], ["Nigeria", "+234"], ["Norway", "+47"],
  ["Pakistan", "+92"], ["Peru", "+51"], ["Philippines", "+63"], ["Poland", "+48"],
  ["Portugal", "+351"], ["Romania", "+40"], ["Saudi Arabia", "+966"], ["Serbia", "+381"],
  ["Singapore", "+65"], ["South Africa", "+27"], ["Spain", "+34"], ["Sweden", "+46"],
  ["Switzerland", "+41"], ["Tanzania", "+255"], ["Thailand", "+66"], ["Turkey", "+90"],
  ["Ukraine", "+380"], ["United Arab Emirates", "+971"], ["United Kingdom", "+44"],
  ["United States", "+1"], ["Vietnam", "+84"],
];

/** The country of this browser's language, if it is in the list. */
export function country() {
  const region = new Intl.Locale(navigator.language).maximize().region || "US";
  const name = new Intl.DisplayNames("en", { type: "region" }).of(region);
  return COUNTRIES.find(([each]) => each === name)?.[1] || "+1";
}
