// How the person's page speaks to its agent.

import { session } from "./session.js";

export { Refused } from "./session.js";

export const { enterByLink, get, isIn, post, put } = session({ key: "fedrec-secret", door: "/session" });
