// A session in a worker.
import { makeSession } from "./session.js";

const SLICE = 12; // milliseconds of work, and then messages are read
const TIMER = 4; // milliseconds that a timer takes at least

/** A worker's own functions. @typedef {object} Worker
 * @property {(tells: import("./session.js").Tells | {ready: true}, buffers?: ArrayBuffer[]) => void} postMessage
 * @property {(event: {data: import("./session.js").Told}) => void} onmessage */

/** Take messages from the page from now on. */
export function serve() {
  const worker = /** @type {Worker} */ (/** @type {unknown} */ (globalThis));
  const { port1, port2 } = new MessageChannel();
  let call = () => {};
  port1.onmessage = () => call();
  const session = makeSession({
    post: (tells, buffers) => worker.postMessage(tells, buffers),
    later(next, ms) {
      if (ms > TIMER) setTimeout(next, ms);
      else {
        call = next;
        port2.postMessage(0); // sooner than any timer, and after the messages that have come
      }
    },
    slice: SLICE,
  });
  worker.onmessage = ({ data }) => session(data);
  worker.postMessage({ ready: true });
}
