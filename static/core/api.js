/**
 * HTTP to Parley: the only module that talks to it. The access token is a variable of this module, so that no
 * other script and no storage has it; the refresh token is a cookie that no script can read.
 */

import { ApiError } from "./errors.js";
import { readEvents } from "./events.js";

const REFRESH_MARGIN_MS = 30_000;
const RACED_ATTEMPTS = 10;
const RACED_PAUSE_MS = 150;
const LOGGED_IN = "parley.loggedIn";
const FROM_PAGE = { "X-Parley": "page" };

let accessToken = null;
let expiresAt = 0; // as performance.now()
let refreshing = null;
let onLoggedOut = () => {};
let user = 0; // how many have been forgotten

/**
 * Have nothing more to do with the requests of whoever was logged in: what is still answered reaches no model, and
 * nothing of theirs is sent again as somebody else's.
 */
export function forgetRequests() {
  user += 1;
}

/** Call a function when the login has ended without this page having asked for it. */
export function setLoggedOutHandler(handler) {
  onLoggedOut = handler;
}

/** Return a new value for an Idempotency-Key; `crypto.randomUUID` does not exist on plain http. */
export function createKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @typedef {object} RequestOptions
 * @property {unknown} [body] sent as JSON
 * @property {string} [key] the Idempotency-Key
 * @property {string} [ifMatch] an entity tag
 * @property {string} [ifNoneMatch] an entity tag; the answer to one that still holds is null
 * @property {Record<string, unknown>} [query] parameters; those that are null or undefined are left out
 * @property {AbortSignal} [signal]
 * @property {boolean} [keepalive] sent although the page is being left: with the token there is, and a body below 64 KiB
 */

/**
 * Send a request and return the parsed answer, null if it has no body.
 * @param {string} method
 * @param {string} path below `/api`, without a slash at its beginning
 * @param {RequestOptions} [options]
 * @throws {ApiError}
 */
export async function request(method, path, options = {}) {
  return (await requestWithEtag(method, path, options)).data;
}

/** Like `request`, but return `{data, etag}`. */
export function requestWithEtag(method, path, options = {}) {
  const answer = async () => {
    const response = await send(method, path, options);
    const data = response.status === 204 || response.status === 304 ? null : await readBody(response);
    return { data, etag: response.headers.get("ETag") };
  };
  return unlessForgotten(answer());
}

/** Send a request and return the headers of its answer alone. */
export async function requestHeaders(method, path, options = {}) {
  const response = await unlessForgotten(send(method, path, options));
  response.body?.cancel().catch(() => {});
  return response.headers;
}

/** Send a request and yield the events of its answer, `{name, data}`; one that breaks off throws a network_error. */
export async function* requestEvents(method, path, options = {}) {
  const response = await send(method, path, { ...options, accept: "text/event-stream" });
  try {
    yield* readEvents(response.body);
  } catch (error) {
    throw networkError(error);
  }
}

/** Send a request and return the answer as a Blob, for a download. */
export async function requestBlob(path, options = {}) {
  const response = await send("GET", path, options);
  try {
    return await response.blob();
  } catch (error) {
    throw networkError(error);
  }
}

/** Send a request and yield the bytes of its answer as they come; one that breaks off throws a network_error. */
export async function* requestBytes(path, options = {}) {
  const response = await send("GET", path, options);
  const reader = response.body.getReader(); // Safari has no `for await` over a stream
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      yield value;
    }
  } catch (error) {
    throw networkError(error);
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Send a file. XMLHttpRequest, since fetch does not tell how much of a body has been sent.
 * @param {string} path
 * @param {Blob} file
 * @param {{query?: object, signal?: AbortSignal, onSent: (bytes: number) => void, onLine: (line: object) => void}} options
 *   `onLine` is called with each line of the answer, an object, as it comes
 */
export async function upload(path, file, options) {
  const sender = user;
  await ensureToken();
  throwIfForgotten(sender);
  try {
    await sendFile(path, file, options);
  } catch (error) {
    if (error.status !== 401) {
      throw error;
    }
    throwIfForgotten(sender);
    await refreshOrLogOut();
    throwIfForgotten(sender);
    await sendFile(path, file, options);
  }
}

function sendFile(path, file, { query, signal, onSent, onLine }) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    let read = 0;
    const readLines = () => {
      if (xhr.status !== 200) {
        return;
      }
      const end = xhr.responseText.lastIndexOf("\n") + 1;
      const lines = xhr.responseText.slice(read, end).split("\n").filter(Boolean);
      read = Math.max(read, end);
      lines.forEach((line) => onLine(JSON.parse(line)));
    };
    xhr.open("POST", url(path, query));
    xhr.setRequestHeader("Authorization", `Bearer ${accessToken}`);
    xhr.setRequestHeader("Accept", "application/x-ndjson");
    xhr.setRequestHeader("Content-Type", "application/x-ndjson");
    xhr.upload.onprogress = (event) => onSent(event.loaded);
    xhr.onprogress = readLines;
    xhr.onload = () => {
      readLines();
      if (xhr.status === 200) {
        resolve();
      } else {
        reject(errorOf(xhr.status, xhr.responseText, (name) => xhr.getResponseHeader(name)));
      }
    };
    xhr.onerror = () => reject(networkError());
    xhr.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal?.addEventListener("abort", () => xhr.abort(), { once: true });
    xhr.send(file);
  });
}

/** Log in; the answer sets the refresh cookie. */
export async function login(username, password) {
  const response = await fetchOrFail(url("auth/login"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password, cookie: true }),
  });
  if (!response.ok) {
    throw await readError(response);
  }
  keepToken(await response.json());
}

/**
 * Log out here and in the user's other tabs, which have the same login.
 * @throws {ApiError} the login has not ended
 */
export async function logout() {
  const response = await fetchOrFail(url("auth/logout"), { method: "POST", headers: FROM_PAGE });
  if (!response.ok && response.status !== 401) {
    throw await readError(response); // the cookie is still there and still good: nobody may think it is not
  }
  accessToken = null;
  noteLogin(false);
}

/**
 * Return whether there is a login to go on with, after a reload. A browser in which nobody has logged in is not asked
 * for a cookie that it cannot have.
 * @throws {ApiError} that cannot be found out
 */
export async function resume() {
  if (!mayHaveLogin()) {
    return false;
  }
  try {
    await refresh();
    return true;
  } catch (error) {
    if (error.status === 401) {
      noteLogin(false);
      return false;
    }
    throw error;
  }
}

async function send(method, path, options) {
  const sender = user;
  if (!options.keepalive) {
    await ensureToken();
    throwIfForgotten(sender);
  }
  try {
    return await sendOnce(method, path, options);
  } catch (error) {
    if (error.status !== 401 || error.code === "invalid_credentials") {
      throw error; // a wrong password is not one for this token
    }
  }
  throwIfForgotten(sender);
  await refreshOrLogOut();
  throwIfForgotten(sender);
  return sendOnce(method, path, options);
}

function throwIfForgotten(sender) {
  if (sender !== user) {
    throw new ApiError(401, "token_revoked");
  }
}

/** Return what a promise does; if the user is forgotten before that, it never does anything. */
function unlessForgotten(promise) {
  const sender = user;
  const never = new Promise(() => {});
  return promise.then(
    (value) => (sender === user ? value : never),
    (error) => (sender === user ? Promise.reject(error) : never),
  );
}

async function sendOnce(method, path, options) {
  const response = await fetchOrFail(url(path, options.query), init(method, options));
  if (!response.ok && response.status !== 304) {
    throw await readError(response);
  }
  return response;
}

function init(method, { body, key, ifMatch, ifNoneMatch, accept, signal, keepalive }) {
  const headers = {
    Authorization: `Bearer ${accessToken}`,
    Accept: accept ?? "application/json",
    ...(body !== undefined && { "Content-Type": "application/json" }),
    ...(key && { "Idempotency-Key": key }),
    ...(ifMatch && { "If-Match": ifMatch }),
    ...(ifNoneMatch && { "If-None-Match": ifNoneMatch }),
  };
  // The entity tags are our own business: the browser's cache would turn a 304 into a 200.
  const content = body === undefined ? undefined : JSON.stringify(body);
  return { method, headers, body: content, signal, keepalive, cache: "no-store" };
}

/** Return a URL relative to the page, which may be served below a path. */
function url(path, query = {}) {
  const parameters = new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== null && value !== undefined),
  );
  return `api/${path}${parameters.size ? `?${parameters}` : ""}`;
}

/** Get an access token, unless there is one that holds: a request with `keepalive` cannot wait for one. */
export async function ensureToken() {
  if (!accessToken || performance.now() > expiresAt - REFRESH_MARGIN_MS) {
    await refreshOrLogOut();
  }
}

async function refreshOrLogOut() {
  try {
    await refresh();
  } catch (error) {
    if (error.status === 401) {
      accessToken = null;
      onLoggedOut();
    }
    throw error;
  }
}

/** Get a new access token: one request at a time in this tab, and, where the browser has locks, in all tabs. */
function refresh() {
  const locked = () => (navigator.locks ? navigator.locks.request("parley-refresh", postRefresh) : postRefresh());
  refreshing ??= locked().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function postRefresh() {
  for (let attempt = 1; ; attempt += 1) {
    // With `keepalive` the answer's cookie is kept even if this tab is closed meanwhile: the old one is spent.
    const response = await fetchOrFail(url("auth/refresh"), { method: "POST", headers: FROM_PAGE, keepalive: true });
    if (response.ok) {
      keepToken(await response.json());
      return;
    }
    const error = await readError(response);
    if (error.code !== "refresh_raced" || attempt === RACED_ATTEMPTS) {
      throw error;
    }
    // Another tab was quicker: the cookie that its answer set is sent with the next attempt.
    await new Promise((resolve) => setTimeout(resolve, RACED_PAUSE_MS * attempt));
  }
}

function keepToken({ access_token: token, expires_in: seconds }) {
  accessToken = token;
  expiresAt = performance.now() + seconds * 1_000;
  noteLogin(true);
}

/** Remember whether somebody is logged in: a mark without any secret in it. */
function noteLogin(isLoggedIn) {
  try {
    if (isLoggedIn) {
      localStorage.setItem(LOGGED_IN, "yes");
    } else {
      localStorage.removeItem(LOGGED_IN);
    }
  } catch {
    // The browser gives us no storage: then the server is asked at each start.
  }
}

function mayHaveLogin() {
  try {
    return localStorage.getItem(LOGGED_IN) !== null;
  } catch {
    return true;
  }
}

async function fetchOrFail(target, options) {
  try {
    return await fetch(target, options);
  } catch (error) {
    throw networkError(error);
  }
}

async function readBody(response) {
  try {
    return await response.json();
  } catch (error) {
    throw networkError(error);
  }
}

async function readError(response) {
  return errorOf(response.status, await response.text().catch(() => ""), (name) => response.headers.get(name));
}

function errorOf(status, text, header) {
  const rest = { requestId: header("X-Request-Id"), retryAfter: Number(header("Retry-After")) };
  try {
    const { error, details } = JSON.parse(text);
    return new ApiError(status, error, { ...rest, details });
  } catch {
    return new ApiError(status, "unexpected_answer", rest); // a proxy's page, perhaps
  }
}

/** Return the error of a request without an answer; one that this page has aborted itself stays what it is. */
function networkError(error) {
  return error?.name === "AbortError" ? error : new ApiError(0, "network_error");
}
