// A run that is told by messages what to do, in a worker or on the page: it plays in slices, so that it can listen
// between them, and posts a frame only when it was asked for one and has something new.
import { LIVE } from "./settings.js";
import { makeTrainer } from "./trainer.js";

/** @typedef {import("./trainer.js").Run} Run */
/** @typedef {import("./trainer.js").View} View */
/** @typedef {import("./trainer.js").Frame} Frame */

/** What a session is told; several things may come in one message.
 * @typedef {object} Told
 * @property {Run} [start] a new run, paused, in place of the last one
 * @property {number} [run] its number, which comes back with every frame
 * @property {Partial<import("./settings.js").Live>} [change]
 * @property {boolean} [play] go on, or pause
 * @property {number} [until] so many steps are done; none, or Infinity, is for good
 * @property {number} [step] so many steps, and then pause
 * @property {Partial<View>} [view]
 * @property {boolean} [ask] for the next frame
 * @property {number} [read] for the parameters; the number comes back with them */

/** What it tells.
 * @typedef {object} Tells
 * @property {number} run
 * @property {Frame} [frame]
 * @property {number} [read]
 * @property {import("./vae.js").Named} [parameters]
 * @property {number} [steps] of the parameters
 * @property {string} [error] what went wrong, and nothing goes on */

/** How a session lives with others.
 * @typedef {object} Host
 * @property {(tells: Tells, buffers: ArrayBuffer[]) => void} post
 * @property {(call: () => void, ms: number) => void} later calls, after at least so many milliseconds, when others had
 *   their turn
 * @property {number} slice milliseconds of work before they have it */

const NEWS = ["start", "change", "step", "view"];
const BURST = 0.1; // seconds of steps that may be caught up on at a given pace
const LONGEST = 50; // milliseconds until it looks whether the pace is another

/** A function that takes messages. @param {Host} host @returns {(told: Told) => void} */
export function makeSession({ post, later, slice }) {
  /** @type {import("./trainer.js").Trainer | null} */
  let trainer = null;
  /** @type {View} */
  const view = { codes: false, decode: null, copies: null, tag: 0 };
  const now = { run: 0, playing: false, waits: false, asked: false, changed: false, until: Number.POSITIVE_INFINITY };
  const clock = { last: 0, owed: 0 };

  const tellFrame = () => {
    if (!trainer || !now.asked || !now.changed) return;
    now.asked = now.changed = false;
    const frame = trainer.frame(view, !now.playing || trainer.live.pace < Number.POSITIVE_INFINITY);
    const buffers = [frame.curve, frame.means, frame.scales, frame.decoded, frame.copies];
    post(
      { run: now.run, frame },
      buffers.flatMap((array) => (array ? [/** @type {ArrayBuffer} */ (array.buffer)] : [])),
    );
  };
  const goOn = () => {
    now.waits = false;
    if (!trainer || !now.playing) return;
    const done = work(trainer, clock, slice, now.until);
    now.changed ||= done;
    if (trainer.failed() || trainer.steps() >= now.until) now.playing = false;
    tellFrame();
    wait();
  };
  const wait = () => {
    if (now.waits || !now.playing || !trainer) return;
    now.waits = true;
    later(goOn, Math.min(LONGEST, (1000 * Math.max(0, 1 - clock.owed)) / trainer.live.pace));
  };
  const read = (/** @type {number} */ read) => {
    if (trainer) post({ run: now.run, read, parameters: trainer.read(), steps: trainer.steps() }, []);
  };

  return (told) => {
    if (told.start) {
      trainer = null; // first, so that its memory can be had again
      trainer = makeTrainer(told.start);
      Object.assign(now, { run: told.run, playing: false });
    }
    if (told.change) trainer?.change(onlyLive(told.change));
    if (told.view) Object.assign(view, told.view);
    if (told.play !== undefined) now.playing = told.play && !trainer?.failed();
    if (told.step) now.playing = false;
    for (let i = 0; trainer && i < (told.step ?? 0) && !trainer.failed(); i++) trainer.step();
    if (told.play) Object.assign(clock, { last: performance.now(), owed: 1 });
    if (told.play) now.until = told.until ?? Number.POSITIVE_INFINITY;
    if (told.read !== undefined) read(told.read);
    now.asked ||= !!told.ask;
    now.changed ||= NEWS.some((kind) => kind in told);
    if (!now.playing) tellFrame();
    wait();
  };
}

/** Do the steps of a slice, or those that are due at a given pace; whether there were any.
 * @param {import("./trainer.js").Trainer} trainer @param {{last: number, owed: number}} clock @param {number} slice
 * @param {number} until */
function work(trainer, clock, slice, until) {
  const { pace } = trainer.live;
  const began = performance.now();
  if (pace < Number.POSITIVE_INFINITY)
    clock.owed = Math.min(clock.owed + ((began - clock.last) * pace) / 1000, 1 + BURST * pace);
  else clock.owed = Number.POSITIVE_INFINITY;
  clock.last = began;
  let done = false;
  const goes = () => clock.owed >= 1 && !trainer.failed() && trainer.steps() < until;
  while (goes() && (!done || performance.now() - began < slice)) {
    trainer.step();
    clock.owed--;
    done = true;
  }
  return done;
}

/** @param {Record<string, any>} change @returns {Partial<import("./settings.js").Live>} */
function onlyLive(change) {
  return Object.fromEntries(Object.entries(change).filter(([name]) => LIVE.includes(name)));
}
