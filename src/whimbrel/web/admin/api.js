// Asking the server. The token is kept for this tab only and goes in a header, never in an address.

const KEPT = "whimbrel-admin-token";
let token = sessionStorage.getItem(KEPT) ?? "";
let leave = () => {};

/** A refusal of the server: `code` for programs, the message for people. */
export class Refusal extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function hasToken() {
  return token !== "";
}

/** @param {string} text */
export function keep(text) {
  token = text;
  if (text) sessionStorage.setItem(KEPT, text);
  else sessionStorage.removeItem(KEPT);
}

/** Called when the token is good no more. @param {() => void} call */
export function whenLocked(call) {
  leave = call;
}

/** @param {string} path @param {{ method?: string, body?: any, signal?: AbortSignal }} [how] @returns {Promise<any>} */
export async function ask(path, how = {}) {
  /** @type {Record<string, string>} */
  const headers = { Authorization: `Bearer ${token}` };
  if (how.body !== undefined) headers["Content-Type"] = "application/json";
  const body = how.body === undefined ? undefined : JSON.stringify(how.body);
  let answer;
  try {
    answer = await fetch(`/admin/${path}`, { method: how.method ?? "GET", headers, body, signal: how.signal, cache: "no-store" });
  } catch (error) {
    if (how.signal?.aborted) throw error;
    throw new Refusal(0, "offline", "The server does not answer.");
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok) return told;
  const problem = told?.error ?? { code: "internal", message: `The server answered ${answer.status}.` };
  if (answer.status === 401) leave();
  throw new Refusal(answer.status, problem.code, problem.message);
}

/** Follow the live feed until `signal`; comes back by itself.
 * @param {{ history: (data: any) => void, snapshot: (data: any) => void, offline: (why: string) => void }} tell
 * @param {AbortSignal} signal */
export async function follow(tell, signal) {
  while (!signal.aborted) {
    try {
      await listen(tell, signal);
      tell.offline("The server has ended the feed.");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal && error.status === 401) return leave();
      tell.offline(error instanceof Refusal ? error.message : "The server does not answer.");
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** @param {Record<string, any>} tell @param {AbortSignal} signal */
async function listen(tell, signal) {
  const answer = await fetch("/admin/live", { headers: { Authorization: `Bearer ${token}` }, signal, cache: "no-store" });
  if (!answer.ok || !answer.body) {
    const told = await answer.json().catch(() => null);
    throw new Refusal(answer.status, told?.error?.code ?? "internal", told?.error?.message ?? `The server answered ${answer.status}.`);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const [name, data] = event.split("\ndata: ");
      const call = name === "event: history" ? tell.history : name === "event: snapshot" ? tell.snapshot : null;
      if (call) call(JSON.parse(data));
    }
  }
}
