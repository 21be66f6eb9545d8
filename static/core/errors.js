/** What went wrong, as a sentence for the person in front of the page. */

import { formatDuration } from "./time.js";

const SENTENCES = {
  network_error: "Parley cannot be reached. What you typed is kept; try again.",
  invalid_credentials: "The name or the password is wrong.",
  rate_limited: "Too many attempts. Wait a moment, then try again.",
  session_not_found: "This session does not exist any more.",
  message_not_found: "This message does not exist any more.",
  action_not_found: "This action is not configured any more.",
  chat_not_found: "No answer is being written.",
  conflict: "Something else is going on in this session. Try again in a moment.",
  precondition_failed: "It was changed elsewhere in the meantime.",
  payload_too_large: "That is more than Parley accepts at once.",
  too_many_streams: "Too many answers are being written at once. Try again in a moment.",
  llm_not_configured: "No model is configured.",
  upstream_error: "The model's server failed.",
  upstream_timeout: "The model's server took too long.",
  database_busy: "The database is busy. Try again in a moment.",
  database_unavailable: "The database is not available.",
  disk_full: "The server's disk is full.",
  internal_error: "The server has a fault; its log says more.",
  token_revoked: "You have been logged out.",
};

/** A request that was not answered with success. `status` is 0 if there was no answer at all. */
export class ApiError extends Error {
  constructor(status, code, { details, requestId, retryAfter } = {}) {
    super(code);
    this.name = "ApiError";
    Object.assign(this, { status, code, details, requestId, retryAfter }); // retryAfter in seconds
  }

  /** Whether the outcome is unknown: there was no answer, so the request may have been carried out. */
  get isUnanswered() {
    return this.status === 0;
  }
}

/** Return a sentence about an error; a refused body's fields with what is wrong with them. */
export function describeError(error) {
  if (!(error instanceof ApiError)) {
    return "The page has a fault. Reload it; what you typed is kept.";
  }
  if (error.code === "validation_error") {
    return describeDetails(error.details).join(" ") || "The server refused it as invalid.";
  }
  if (error.code === "rate_limited" && error.retryAfter) {
    return `Too many attempts. Try again in ${formatDuration(error.retryAfter * 1_000)}.`;
  }
  return SENTENCES[error.code] ?? `The server answered ${error.status} ${error.code}.`;
}

/** Flatten `{"messages": {"3": {"role": ["Missing."]}}}` to `["messages.3.role: Missing."]`; `_schema` means the whole. */
export function describeDetails(details, path = "") {
  if (typeof details === "string") {
    return [path ? `${path}: ${details}` : details];
  }
  if (Array.isArray(details)) {
    return details.flatMap((detail) => describeDetails(detail, path));
  }
  return Object.entries(details ?? {}).flatMap(([key, value]) =>
    describeDetails(value, [path, key].filter((part) => part && part !== "_schema").join(".")),
  );
}
