/** The panel of actions: choose one, fill in its form, fire it; below, the newest runs. */

import { html, live, nothing, repeat } from "../core/html.js";
import { sessionLink } from "../core/router.js";
import { icon } from "../ui/icons.js";
import { editField, editJson, formOf, toggleJson } from "./forms.js";
import { actionsState, allRuns, fireAction, loadActions, toggleAction } from "./model.js";
import { runView } from "./run_view.js";
import { fieldsView, focusFirstWrong } from "./schema_form.js";

const NEWEST_RUNS = 5;

/** Render the panel. */
export function actionsView() {
  const { status, items, error, selected } = actionsState();
  return html`
    <h2>Actions</h2>
    ${status === "loading" ? html`<p class="quiet">Loading…</p>` : nothing}
    ${
      status === "failed"
        ? html`<p class="error" role="alert">${error}</p>
            <button type="button" @click=${loadActions}>Try again</button>`
        : nothing
    }
    <ul class="actions">
      ${repeat(
        items,
        ({ name }) => name,
        (action) => actionView(action, action.name === selected),
      )}
    </ul>
    ${newestRunsView()}
  `;
}

function actionView(action, isOpen) {
  return html`<li class="action">
    <h3>
      <button type="button" aria-expanded=${isOpen} @click=${() => toggleAction(action.name)}>
        ${icon("actions")}<span>${action.name}</span>
        ${formOf(action).isTouched ? html`<span class="badge">Draft</span>` : nothing}
      </button>
    </h3>
    <p class="quiet">${action.description}</p>
    ${isOpen ? formView(action) : nothing}
  </li>`;
}

function formView(action) {
  const form = formOf(action);
  const submit = async (event) => {
    event.preventDefault();
    const element = event.currentTarget;
    if (!form.fired && !(await fireAction(action))) {
      focusFirstWrong(element);
    }
  };
  const onEdit = (path, value) => editField(action, path, value);
  const keydown = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      event.preventDefault();
      event.currentTarget.requestSubmit();
    }
  };
  return html`<form novalidate aria-label=${action.name} @submit=${submit} @keydown=${keydown}>
    ${form.json === null ? fieldsView(action.fields, { ...form, onEdit }) : jsonView(action, form)}
    ${form.json === null && form.error ? html`<p class="error" role="alert" tabindex="-1">${form.error}</p>` : nothing}
    ${
      form.fired && !form.fired.isSending
        ? html`<p class="quiet">What was fired before has no answer yet: see below.</p>`
        : nothing
    }
    <div class="buttons">
      ${
        action.fields
          ? html`<button type="button" class="link" @click=${() => toggleJson(action)}>
              ${form.json === null ? "Edit as JSON" : "Edit as a form"}
            </button>`
          : nothing
      }
      <button type="submit" class="primary" aria-disabled=${form.fired ? "true" : "false"}>
        ${form.fired?.isSending ? "Firing…" : `Fire ${action.name}`}
      </button>
    </div>
  </form>`;
}

function jsonView(action, { json, error }) {
  return html`<div class="field">
      <label for="action-json">Input</label>
      <p class="quiet" id="action-json-hint">An object, as JSON.</p>
      <textarea
        id="action-json"
        class="code"
        rows="6"
        spellcheck="false"
        autocapitalize="off"
        aria-invalid=${Boolean(error)}
        aria-describedby="action-json-hint action-json-error"
        .value=${live(json)}
        @input=${(event) => editJson(action, event.target.value)}
      ></textarea>
      <p class="error" id="action-json-error">${error}</p>
    </div>
    <details class="part schema">
      <summary><span class="part-label">What it takes (JSON Schema)</span></summary>
      <pre tabindex="0" role="group" aria-label="JSON Schema">${JSON.stringify(action.parameters, null, 2)}</pre>
    </details>`;
}

function newestRunsView() {
  const runs = allRuns().slice(-NEWEST_RUNS).reverse();
  if (runs.length === 0) {
    return nothing;
  }
  return html`<section class="newest-runs" aria-labelledby="newest-runs">
    <div class="section-head">
      <h2 id="newest-runs">Newest runs</h2>
      <a href=${sessionLink(actionsState().sessionId, "timeline")}>Timeline</a>
    </div>
    <ol class="runs">
      ${repeat(
        runs,
        ({ id }) => id,
        (run) => html`<li>${runView(run)}</li>`,
      )}
    </ol>
  </section>`;
}
