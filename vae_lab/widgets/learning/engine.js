// All that runs a model, as one function: bundle.py puts the files imported here inside it, so that its text is a program
// of its own, with which a worker can start where no file can be fetched.
import { COLUMNS } from "./curve.js";
import { random, shuffle } from "./random.js";
import { serve } from "./serve.js";
import { makeSession } from "./session.js";
import { CHOICES, checked, DEFAULTS, LIMITS, LIVE } from "./settings.js";

export function engine() {
  return { CHOICES, COLUMNS, DEFAULTS, LIMITS, LIVE, checked, makeSession, random, serve, shuffle };
}
