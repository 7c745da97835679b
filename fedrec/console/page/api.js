// Speaks to the console that served this page, and to nobody else.

const KEY = "fedrec-console-secret";
const TIMEOUT = 30000;

/** An answer that says no; `status` is 0 where there was no answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Change the one-time ticket in the address for a session, and take it out of the address. */
export async function enterByLink() {
  const said = new URLSearchParams(location.hash.slice(1));
  const ticket = said.get("ticket");
  if (!ticket) return;
  history.replaceState(null, "", location.pathname);
  // A secret that the page kept from before still serves where the link was used already.
  const kept = sessionStorage.getItem(KEY);
  try {
    await enter({ ticket });
  } catch (error) {
    if (!kept) throw error;
    sessionStorage.setItem(KEY, kept);
  }
}

/** Begin a session with the operator token. */
export const enterByToken = (token) => enter({ token });

async function enter(entry) {
  forget();
  sessionStorage.setItem(KEY, (await ask("POST", "/console/session", entry)).secret);
}

/** Whether this tab has been let in before. */
export const isIn = () => sessionStorage.getItem(KEY) !== null;

/** This tab is let in no more. */
export const forget = () => sessionStorage.removeItem(KEY);

/** What goes with every request of a session. */
export function headers(accept) {
  const secret = sessionStorage.getItem(KEY);
  return secret ? { Accept: accept, "X-Fedrec-Secret": secret } : { Accept: accept };
}

/** The answer's JSON; throws Refused with the console's own line. */
export async function ask(method, path, body) {
  const sent = headers("application/json");
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new Refused(0, "The service does not answer. It may have been stopped.");
  }
  const said = await answer.json().catch(() => ({ error: "The service's answer cannot be read." }));
  if (!answer.ok) throw new Refused(answer.status, said.error);
  return said;
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);
