// How the operator's page speaks to its console.

import { session } from "./session.js";

export { Refused } from "./session.js";

const SESSION = session({ key: "fedrec-console-secret", door: "/console/session" });
export const { enterByLink, forget, get, headers, isIn, post } = SESSION;

/** Begin a session with the operator token. */
export const enterByToken = (token) => SESSION.enter({ token });
