/** The account screen. */

import { html, nothing } from "../core/html.js";
import { loginState } from "../login/model.js";
import { icon } from "../ui/icons.js";
import { accountState, askAndDeleteAll, askAndLogOut, changePassword } from "./model.js";

const MIN_PASSWORD_LENGTH = 8;
const MAX_PASSWORD_LENGTH = 1_024;

/** Render the account screen. A button that is busy is not disabled, or it would lose the focus. */
export function accountView() {
  const { user, about } = loginState();
  const { busy } = accountState();
  return html`
    <header class="screen-header">
      <a class="icon back" href="#/" aria-label="All sessions">${icon("back")}</a>
      <h1>Account</h1>
    </header>
    <div class="screen-content account">
      <section aria-labelledby="account-user">
        <h2 id="account-user">Login</h2>
        <p>You are logged in as <strong>${user.username}</strong>. Logging out ends this login in all tabs.</p>
        <button type="button" aria-disabled=${busy ? "true" : "false"} @click=${askAndLogOut}>${busy === "logout" ? "Logging out…" : "Log out"}</button>
      </section>
      <section aria-labelledby="account-password">
        <h2 id="account-password">Change your password</h2>
        ${passwordForm(user)}
      </section>
      <section aria-labelledby="account-delete">
        <h2 id="account-delete">Delete all sessions</h2>
        <p>All sessions go, with their messages, prompts and webhook runs. This cannot be undone:
          <a href="#/transfer">export them</a> first if you may need them.</p>
        <button type="button" class="danger" aria-disabled=${busy ? "true" : "false"} @click=${askAndDeleteAll}>
          ${busy === "delete" ? "Counting…" : "Delete all sessions…"}
        </button>
      </section>
      <p class="quiet">Parley ${about.version} · <a href="docs">API</a></p>
    </div>
  `;
}

function passwordForm({ username }) {
  const { busy, passwordError } = accountState();
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    if (await changePassword(form.elements.current.value, form.elements.password.value)) {
      form.reset();
    }
  };
  return html`<form @submit=${submit}>
    <input class="offscreen" name="username" autocomplete="username" .value=${username} tabindex="-1" aria-hidden="true" readonly />
    <label>Current password <input name="current" type="password" autocomplete="current-password" required /></label>
    <label>New password
      <input name="password" type="password" autocomplete="new-password" required aria-describedby="password-hint"
        minlength=${MIN_PASSWORD_LENGTH} maxlength=${MAX_PASSWORD_LENGTH} /></label>
    <p id="password-hint" class="quiet">8 to 1,024 characters. Your other logins end: other browsers, and programs that
      use a token of yours.</p>
    ${passwordError ? html`<p class="error" role="alert">${passwordError}</p>` : nothing}
    <button type="submit" aria-disabled=${busy ? "true" : "false"}>${busy === "password" ? "Changing…" : "Change password"}</button>
  </form>`;
}
