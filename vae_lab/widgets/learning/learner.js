// A model that learns while the page goes on: in a worker, or, where the page's policy refuses one, in slices between
// two frames. Who uses it does not see the difference.
import { engine } from "./engine.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./settings.js").Live} Live */
/** @typedef {import("./session.js").Told} Told */
/** @typedef {import("./session.js").Tells} Tells */
/** @typedef {import("./trainer.js").Run} Run */
/** @typedef {import("./trainer.js").Frame & {where: "worker" | "page"}} Frame */
/** @typedef {ReturnType<typeof learn>} Learner */

/** @typedef {Omit<Partial<Run>, "settings"> & Partial<Settings> & {data: Float32Array, element?: Element, worker?: boolean}} Options
 *   settings, data (N × D) and the rest of a run; the element whose place on the screen matters; whether a worker may
 *   be used */

export const { CHOICES, COLUMNS, DEFAULTS, LIMITS, LIVE, checked, makeSession, random, shuffle } = engine();

const PAGE_SLICE = 9; // milliseconds of work between two frames of the page
const FRAME = 17; // milliseconds between them
const PATIENCE = 20000; // milliseconds that a worker may take to say that it is there

/** A run, paused. `draw` gets a frame when there is something new, at most once in a frame of the page. It rests while
 * `element` is off the screen or the page is hidden.
 * @param {Options} options @param {(frame: Frame) => void} draw */
export function learn(options, draw) {
  let run = { ...options, settings: checked(options) };
  const now = { run: 0, playing: false, seen: true, goes: false, frame: 0, until: Number.POSITIVE_INFINITY };
  const reads = makeReads();
  const line = connect(hear, options.worker ?? true);
  const unwatch = watchPlace(options.element, (seen) => {
    now.seen = seen;
    update();
  });
  const update = () => {
    const goes = now.playing && now.seen;
    if (goes !== now.goes) line.send({ play: goes, until: now.until });
    now.goes = goes;
  };
  const start = () => {
    now.goes = false;
    line.send({ start: startOf(run), run: ++now.run, ask: true });
    update();
  };
  function hear(/** @type {Tells} */ tells) {
    if (tells.error) throw new Error(tells.error);
    if (tells.read !== undefined) reads.answer(tells);
    const { frame } = tells;
    if (!frame || tells.run !== now.run) return;
    if (frame.failed || frame.steps >= now.until) now.playing = now.goes = false;
    now.frame = requestAnimationFrame(() => {
      if (tells.run !== now.run) return;
      draw({ ...frame, where: line.where() });
      line.send({ ask: true });
    });
  }
  const play = (/** @type {boolean} */ playing) => {
    now.playing = playing;
    update();
  };
  start();
  return {
    /** @param {number} [until] so many steps are done */
    play(until = Number.POSITIVE_INFINITY) {
      now.until = until;
      play(true);
    },
    pause: () => play(false),
    playing: () => now.playing,
    settings: () => run.settings,
    /** So many steps, and then a pause. */
    step(count = 1) {
      now.playing = now.goes = false;
      line.send({ step: count });
    },
    /** Other numbers from the next step on: β, rate, batch, part, … @param {Partial<Live>} live */
    change(live) {
      run = { ...run, settings: checked({ ...run.settings, ...live }) };
      line.send({ change: live });
    },
    /** What frames hold beside their numbers. @param {Partial<import("./trainer.js").View>} view */
    view: (view) => line.send({ view }),
    /** From the beginning, with other settings or data if they are given; it plays on if it did.
     * @param {Partial<Options>} changes */
    restart(changes = {}) {
      const settings = checked(anew(run.settings, changes));
      run = { ...run, changes: [], ...changes, settings };
      start();
    },
    /** The parameters of now, by their names in a PyTorch model. */
    read: () => reads.ask((read) => line.send({ read })),
    /** Stop for good. */
    end() {
      now.run = -1;
      cancelAnimationFrame(now.frame);
      unwatch();
      line.end();
    },
  };
}

/** What a session needs to start. @param {Options & {settings: Settings}} run @returns {Run} */
function startOf({ settings, data, heldOut = new Float32Array(0), parameters = null, plain = false, changes = [] }) {
  for (const [name, rows] of Object.entries({ data, heldOut })) {
    const least = name === "data" ? 1 : 0;
    if (rows.length % settings.dims || rows.length < least || !rows.every(Number.isFinite))
      throw new RangeError(`${name} must be rows of ${settings.dims} finite numbers, got ${rows.length} numbers`);
  }
  let after = 0;
  for (const [at, changed] of changes) {
    if (!Number.isInteger(at) || at < after)
      throw new RangeError("changes must come after whole, rising numbers of steps");
    checked({ ...settings, ...changed });
    after = at;
  }
  return { settings, data, heldOut, parameters, plain, changes };
}

/** Settings with changes; the decoder's widths follow the encoder's unless they are given.
 * @param {Settings} settings @param {Partial<Settings>} changes */
function anew(settings, changes) {
  const { decoderHidden, ...rest } = settings;
  return { ...rest, ...(changes.hidden ? {} : { decoderHidden }), ...changes };
}

/** Questions whose answers come later. */
function makeReads() {
  /** @type {((answer: {steps: number, parameters: import("./vae.js").Named, checksum: string}) => void)[]} */
  const waiting = [];
  return {
    /** @param {(read: number) => void} send @returns {Promise<Parameters<typeof waiting[number]>[0]>} */
    ask: (send) => new Promise((resolve) => send(waiting.push(resolve) - 1)),
    answer: (/** @type {Tells} */ { read = 0, steps = 0, parameters = {} }) =>
      waiting[read]({ steps, parameters, checksum: checksum(parameters) }),
  };
}

/** Eight letters that differ when a bit of any parameter does (FNV-1a, 32 bits). @param {import("./vae.js").Named} named */
export function checksum(named) {
  let hash = 0x811c9dc5;
  for (const { values } of Object.values(named))
    for (const byte of new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
      hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** A session to send to, in a worker if that is allowed. A policy refuses one by an event or by an exception.
 * @param {(tells: Tells) => void} hear @param {boolean} mayWork */
function connect(hear, mayWork) {
  let where = /** @type {"" | "worker" | "page"} */ ("");
  /** @type {Told[]} */
  let said = []; // as long as nobody has answered
  /** @type {(told: Told) => void} */
  let send = (told) => void said.push(told);
  let end = () => {};
  const here = () => {
    where = "page";
    ({ send, end } = onPage(hear));
    for (const told of said) send(told);
  };
  const inWorker = (/** @type {Worker} */ worker) => {
    const refused = () => {
      worker.terminate();
      here();
    };
    const timer = setTimeout(refused, PATIENCE);
    end = () => {
      clearTimeout(timer);
      worker.terminate();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      clearTimeout(timer);
      if (where) hear({ run: 0, error: event.message });
      else refused();
    };
    worker.onmessage = ({ data }) => {
      if (!data.ready) return hear(data);
      clearTimeout(timer);
      where = "worker";
      send = (told) => worker.postMessage(told);
      for (const told of said) send(told);
      said = [];
    };
  };
  try {
    if (!mayWork) throw new Error("A worker is not wanted.");
    inWorker(newWorker());
  } catch {
    here();
  }
  return {
    send: (/** @type {Told} */ told) => send(told),
    end: () => end(),
    where: () => /** @type {"worker" | "page"} */ (where),
  };
}

/** A classic worker whose program is text: a page from a folder can start no other. */
function newWorker() {
  const url = URL.createObjectURL(new Blob([`(${engine})().serve();`], { type: "text/javascript" }));
  const worker = new Worker(url);
  URL.revokeObjectURL(url);
  return worker;
}

/** A session on the page. @param {(tells: Tells) => void} hear */
function onPage(hear) {
  let ended = false;
  const session = makeSession({
    post: (tells) => void (ended || hear(tells)),
    later(call, ms) {
      const goOn = () => void (ended || call());
      if (ms > FRAME) setTimeout(goOn, ms);
      else requestAnimationFrame(goOn);
    },
    slice: PAGE_SLICE,
  });
  const end = () => {
    ended = true;
  };
  return { send: session, end };
}

/** Say whether an element is on the screen of a page that is shown, now and whenever that changes; returns what ends it.
 * @param {Element | undefined} element @param {(seen: boolean) => void} say */
function watchPlace(element, say) {
  let inside = true;
  const tell = () => say(inside && !document.hidden);
  const observer = new IntersectionObserver((entries) => {
    inside = entries[entries.length - 1].isIntersecting;
    tell();
  });
  if (element) observer.observe(element);
  document.addEventListener("visibilitychange", tell);
  return () => {
    observer.disconnect();
    document.removeEventListener("visibilitychange", tell);
  };
}
