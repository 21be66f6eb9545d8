/** A stream of events that is watched: one that falls silent counts as broken off. */

import { ApiError } from "../core/errors.js";

const SILENCE_MS = 35_000; // the server sends a comment every ten seconds
const SHORT_SILENCE_MS = 15_000; // of one that is suspected, because the page has slept
const WATCH_MS = 1_000;

/**
 * Read a stream to its end.
 * @param {(signal: AbortSignal) => AsyncIterable<{name: string, data: unknown}>} start sends the request
 * @param {(event: {name: string, data: unknown}) => void} onEvent
 * @returns {{abort: () => void, isSilent: () => boolean, ended: Promise<Error>}} `ended` is why it has ended
 */
export function openStream(start, onEvent) {
  const controller = new AbortController();
  let heardAt = performance.now();
  const silence = () => performance.now() - heardAt;

  async function read() {
    const watch = setInterval(() => silence() > SILENCE_MS && controller.abort(), WATCH_MS);
    try {
      for await (const event of start(controller.signal)) {
        heardAt = performance.now();
        onEvent(event);
      }
      return new ApiError(0, "network_error");
    } catch (error) {
      return error;
    } finally {
      clearInterval(watch);
    }
  }

  return { abort: () => controller.abort(), isSilent: () => silence() > SHORT_SILENCE_MS, ended: read() };
}
