// Speaks to the service that served this page, and to nobody else.

const TIMEOUT = 30000;

/** An answer that says no; `status` is 0 where there was no answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** How this tab is let in, and how it asks. key: under which it keeps its secret. door: where a session begins. */
export function session({ key, door }) {
  /** Whether this tab has been let in before. */
  const isIn = () => sessionStorage.getItem(key) !== null;

  /** This tab is let in no more. */
  const forget = () => sessionStorage.removeItem(key);

  /** What goes with every request of a session. */
  function headers(accept) {
    const secret = sessionStorage.getItem(key);
    return secret ? { Accept: accept, "X-Fedrec-Secret": secret } : { Accept: accept };
  }

  /** The answer's JSON; throws Refused with the service's own line. */
  async function ask(method, path, body) {
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

  /** Begin a session with what opens the door. */
  async function enter(entry) {
    forget();
    sessionStorage.setItem(key, (await ask("POST", door, entry)).secret);
  }

  /** Change the one-time ticket in the address for a session, and take it out of the address. */
  async function enterByLink() {
    const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
    if (!ticket) return;
    history.replaceState(null, "", location.pathname);
    // A secret that the page kept from before still serves where the link was used already.
    const kept = sessionStorage.getItem(key);
    try {
      await enter({ ticket });
    } catch (error) {
      if (!kept) throw error;
      sessionStorage.setItem(key, kept);
    }
  }

  const get = (path) => ask("GET", path);
  const post = (path, body) => ask("POST", path, body);
  const put = (path, body) => ask("PUT", path, body);
  return { enter, enterByLink, forget, get, headers, isIn, post, put };
}
