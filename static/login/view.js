/** The form to log in: as a page of its own, or above the page when a login has expired. */

import { html, nothing, ref } from "../core/html.js";
import { focusOnce } from "../ui/focus.js";
import { logIn, loginState, resumeLogin } from "./model.js";

/** Render the login page. */
export function loginView() {
  const { status, error } = loginState();
  if (status === "starting") {
    return html`<main class="login" aria-busy="true"><p class="quiet">Parley is starting…</p></main>`;
  }
  if (status === "unreachable") {
    return html`<main class="login"><h1>Parley</h1><p role="alert">${error}</p>
      <button type="button" class="primary" @click=${resumeLogin}>Try again</button></main>`;
  }
  return html`<main class="login">
    <h1>Parley</h1>
    ${loginForm("Log in")}
    ${document.documentElement.hasAttribute("data-first-start") ? firstStartView() : nothing}
  </main>`;
}

/** Render the form that lies above the page when the login has expired. */
export function expiredView() {
  return html`<div class="curtain"><section class="login" role="dialog" aria-modal="true" aria-labelledby="expired">
    <h2 id="expired">Your login has ended</h2>
    <p>Log in again to go on. What you typed is kept.</p>
    ${loginForm("Log in again")}
  </section></div>`;
}

function loginForm(label) {
  const { error, busy, user } = loginState();
  const describedBy = error ? "login-error" : nothing;
  const first = user ? "password" : "username"; // who logs in again only types the password
  const focus = (name) => (name === first ? ref(focusOnce) : nothing);
  return html`<form @submit=${submit} aria-busy=${busy}>
    <label>Username <input name="username" autocomplete="username" required autocapitalize="off" autocorrect="off"
      spellcheck="false" aria-describedby=${describedBy} .defaultValue=${user?.username ?? ""} ${focus("username")} /></label>
    <label>Password <input name="password" type="password" autocomplete="current-password" required
      aria-describedby=${describedBy} ${focus("password")} /></label>
    <div role="alert">${error ? html`<p class="error" id="login-error">${error}</p>` : nothing}</div>
    <button type="submit" class="primary">${busy ? "Logging in…" : label}</button>
  </form>`;
}

async function submit(event) {
  event.preventDefault();
  const { username, password } = event.target.elements;
  if (loginState().busy) {
    return; // the button is not disabled, so that it keeps the focus
  }
  await logIn(username.value, password.value);
  if (loginState().error) {
    password.select();
  }
}

function firstStartView() {
  return html`<section class="hint" aria-labelledby="first-start">
    <h2 id="first-start">There is no user yet</h2>
    <p>Create one on the machine that runs Parley, then log in here:</p>
    <pre tabindex="0" aria-label="Command"><code>.venv/bin/flask users add NAME</code></pre>
    <p>In a container:</p>
    <pre tabindex="0" aria-label="Command in a container"><code>docker compose exec parley flask users add NAME</code></pre>
  </section>`;
}
