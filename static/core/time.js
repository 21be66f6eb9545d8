/** Times as people read them: in their own zone, with the exact UTC beside it. */

import { html } from "./html.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const DAY_MS = 86_400_000;

/** Return a `<time>` with the hour, and the day unless it is today; the exact UTC shows on hover. */
export function timeView(iso) {
  return html`<time datetime=${iso} title="${iso.replace("T", " ").replace("Z", " UTC")}">${formatTime(iso)}</time>`;
}

/** Return "14:05". */
export function formatClock(iso) {
  return clock.format(new Date(iso));
}

/** Return "14:05", or "3 Nov 2026, 14:05" if that is not today. */
export function formatTime(iso) {
  const time = new Date(iso);
  return isToday(time) ? clock.format(time) : `${day.format(time)}, ${clock.format(time)}`;
}

/** Return "Today", "Yesterday", a weekday of the last six days, or a date. */
export function formatDay(iso) {
  const time = new Date(iso);
  const days = Math.round((startOfDay(new Date()) - startOfDay(time)) / DAY_MS);
  if (days === 0 || days === 1) {
    return days ? "Yesterday" : "Today";
  }
  return days > 1 && days < 7 ? weekday.format(time) : day.format(time);
}

/** Return "14:05", or the day alone if that is not today, where there is no room for both. */
export function formatClockOrDay(iso) {
  return isToday(new Date(iso)) ? formatClock(iso) : formatDay(iso);
}

/** Return "350 ms", "4.2 s", "14 min" or "3 h 05 min". */
export function formatDuration(ms) {
  if (ms < 1_000) {
    return `${Math.round(ms)} ms`;
  }
  if (ms < 60_000) {
    return `${(ms / 1_000).toFixed(1)} s`;
  }
  const minutes = Math.round(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

function isToday(time) {
  return startOfDay(time) === startOfDay(new Date());
}

/** Return when a time's day begins, in milliseconds. */
export function startOfDay(time) {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();
}
