/** A webhook run: its outcome, its answer, and firing it again. */

import { html, nothing } from "../core/html.js";
import { formatDuration, timeView } from "../core/time.js";
import { loginState } from "../login/model.js";
import { icon } from "../ui/icons.js";
import { canSendAgain, fireAgain, forgetFired, sendFired } from "./model.js";

/** What each status is called, and the icon that goes with its colour. */
export const STATUSES = {
  running: { label: "Running…", icon: "more", tone: "quiet" },
  succeeded: { label: "Succeeded", icon: "check", tone: "good" },
  failed: { label: "Failed", icon: "close", tone: "error" },
  interrupted: { label: "Unknown: look first before firing again", icon: "warning", tone: "error" },
  unanswered: { label: "No answer came", icon: "warning", tone: "error" },
};
const ERRORS = {
  timeout: "the webhook took too long",
  unreachable: "the webhook could not be reached",
  bad_status: "the webhook refused",
};

/** Return why a run has failed, empty if it has not: "HTTP 500, the webhook refused". */
function failureOf({ status, response_status: code, error }) {
  return status === "failed" ? [code && `HTTP ${code}`, ERRORS[error] ?? error].filter(Boolean).join(", ") : "";
}

/** Render a run. */
export function runView(run) {
  const { status, action, started_at: startedAt, duration_ms: duration } = run;
  const { label, icon: name, tone } = STATUSES[status] ?? { label: status, icon: "more", tone: "quiet" };
  const took = typeof duration === "number" ? `, took ${formatDuration(duration)}` : nothing;
  return html`<article class="run ${status}" aria-label="${action}: ${label}">
    <header>
      <strong>${action}</strong>
      <span class="run-time quiet">${timeView(startedAt)}${took}</span>
    </header>
    <p class="run-status ${tone}">${icon(name)}<span>${[label, failureOf(run)].filter(Boolean).join(": ")}</span></p>
    ${run.waiting && status === "unanswered" ? unansweredView(run) : nothing} ${detailsView(run)}
    ${
      run.waiting || !loginState().about.actions
        ? nothing
        : html`<button
            type="button"
            class="again"
            @click=${() => fireAgain(run)}
            ?disabled=${status === "running"}
            aria-label="Fire ${action} again…"
          >
            ${icon("retry")}Fire again…
          </button>`
    }
  </article>`;
}

function unansweredView({ waiting: action, error, started_at: at }) {
  const isSafe = canSendAgain({ at });
  return html`
    <p>
      ${error ? `${error} ` : ""}It may have been fired or not.
      ${isSafe ? "Trying again cannot fire it twice." : "It is too long ago to try again safely: look first."}
    </p>
    <div class="buttons">
      <button type="button" @click=${() => forgetFired(action)}>Forget it</button>
      ${
        isSafe
          ? html`<button type="button" class="primary" @click=${() => sendFired(action)}>Try again</button>`
          : nothing
      }
    </div>
  `;
}

function detailsView({ request, response_body: answer }) {
  const { input } = request.data;
  return html`
    ${
      answer
        ? html`<details>
            <summary>Answer</summary>
            <pre tabindex="0" role="group" aria-label="Answer">${answer}</pre>
          </details>`
        : nothing
    }
    ${
      Object.keys(input ?? {}).length
        ? html`<details>
            <summary>Input</summary>
            <pre tabindex="0" role="group" aria-label="Input">${JSON.stringify(input, null, 2)}</pre>
          </details>`
        : nothing
    }
  `;
}
