// Speaks to the agent that served this page, and to nobody else.

const KEY = "fedrec-secret";
const TIMEOUT = 30000;

/** An answer that says no; `status` is 0 where there was no answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Change the ticket in the address for a session, and take it out of the address. */
export async function enter() {
  const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
  if (!ticket) return;
  history.replaceState(null, "", location.pathname);
  // A secret that the page kept from before still serves where the ticket was used already.
  const kept = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  try {
    sessionStorage.setItem(KEY, (await ask("POST", "/session", { ticket })).secret);
  } catch (error) {
    if (!kept) throw error;
    sessionStorage.setItem(KEY, kept);
  }
}

/** Whether this tab has been let in before. */
export const isIn = () => sessionStorage.getItem(KEY) !== null;

/** The answer's JSON; throws Refused with the agent's own line. */
export async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  const secret = sessionStorage.getItem(KEY);
  if (secret) headers["X-Fedrec-Secret"] = secret;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.timeout(TIMEOUT),
    });
  } catch {
    throw new Refused(0, "The agent does not answer. It may have been stopped.");
  }
  const said = await answer.json().catch(() => ({ error: "The agent's answer cannot be read." }));
  if (!answer.ok) throw new Refused(answer.status, said.error);
  return said;
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);
