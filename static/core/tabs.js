/** What this tab tells the user's other tabs: that something has changed, never the data itself. */

const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("parley") : null;

/**
 * Tell the other tabs.
 * @param {"session_updated" | "sessions_deleted" | "sessions_added" | "chat_started" | "webhook_runs_changed" |
 *   "logged_in" | "logged_out"} type
 * @param {object} [detail]
 */
export function broadcast(type, detail = {}) {
  channel?.postMessage({ type, ...detail });
}

/** Call a handler when another tab tells something of this type. */
export function onBroadcast(type, handler) {
  channel?.addEventListener("message", ({ data }) => {
    if (data.type === type) {
      handler(data);
    }
  });
}
