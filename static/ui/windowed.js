/**
 * A list of which only the rows in view are in the document, so that 10,000 rows cost as little as 40. All rows have
 * the same height: the list's `--row` in the stylesheet, in rem, so that they grow with the reader's font.
 */

import { AsyncDirective, Directive, directive, html, nothing, repeat } from "../core/html.js";

const OVERSCAN = 8; // rows above and below, so that a frame drawn while one scrolls has no gap
const STEP = 4; // the rows in the document change every four rows, not at each
const NEAR_END = 30;

const lists = new WeakMap(); // from a list's element

/**
 * @typedef {object} Row
 * @property {string} key
 * @property {string} kind the class of its `li`
 * @property {number} [position] of a row that counts, from 1
 */

class Windowed extends AsyncDirective {
  rows = [];
  top = 0;
  height = innerHeight;
  rowHeight = 36; // until it is measured
  first = 0;

  /** @param {Row[]} rows */
  update(part, [rows, view, options = {}]) {
    if (!this.list) {
      this.attach(part.parentNode);
    }
    const before = this.rows;
    Object.assign(this, { rows, view, options });
    if (rows !== before) {
      this.list.style.setProperty("--rows", rows.length);
      this.keepPlace(before);
    }
    const focused = document.activeElement;
    queueMicrotask(() => this.restoreFocus(focused));
    return this.render();
  }

  render() {
    this.first = this.firstInView();
    const end = Math.min(this.first + Math.ceil(this.height / this.rowHeight) + 2 * OVERSCAN + STEP, this.rows.length);
    const indexes = Array.from({ length: end - this.first }, (_, offset) => this.first + offset);
    if (end > this.rows.length - NEAR_END) {
      this.options.onNearEnd?.();
    }
    return repeat(
      this.withPinned(indexes),
      (index) => this.rows[index].key,
      (index) => this.rowView(this.rows[index], index),
    );
  }

  rowView(row, index) {
    const size = row.position && this.options.size;
    return html`<li
      class=${row.kind}
      data-key=${row.key}
      aria-posinset=${row.position ?? nothing}
      aria-setsize=${size ?? nothing}
      ${placedAt(index)}
    >${this.view(row)}</li>`;
  }

  firstInView() {
    const last = Math.max(this.rows.length - Math.ceil(this.height / this.rowHeight), 0);
    const first = Math.min(Math.floor(this.top / this.rowHeight), last) - OVERSCAN;
    return Math.max(first - (first % STEP), 0);
  }

  withPinned(indexes) {
    const index = this.rows.findIndex((row) => row.key === this.options.pinned);
    if (index < 0 || indexes.includes(index)) {
      return indexes;
    }
    return index < this.first ? [index, ...indexes] : [...indexes, index];
  }

  /** Moving an element takes the focus from it. */
  restoreFocus(focused) {
    if (document.activeElement === document.body && this.list.contains(focused)) {
      focused.focus({ preventScroll: true });
    }
  }

  /** Scroll with the rows in view when some are added or removed above them, so that they stay where they are. */
  keepPlace(before) {
    if (this.top <= 0 || !before.length) {
      return;
    }
    const places = new Map(this.rows.map((row, index) => [row.key, index]));
    const start = Math.floor(this.top / this.rowHeight);
    const shifts = before
      .slice(start, start + Math.ceil(this.height / this.rowHeight))
      .map((row, offset) => places.get(row.key) - start - offset)
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
    const shift = shifts[Math.floor(shifts.length / 2)]; // a row that has moved by itself is not followed
    if (shift) {
      this.scrollTo(this.top + shift * this.rowHeight);
    }
  }

  scrollTo(top) {
    this.top = Math.max(top, 0);
    this.scroller.scrollTop = this.top;
  }

  attach(list) {
    this.list = list;
    this.scroller = list.parentElement;
    lists.set(list, this);
    this.onScroll = () => this.followScroll();
    this.observer = new ResizeObserver(() => this.measure());
    this.reconnected();
  }

  reconnected() {
    this.scroller.addEventListener("scroll", this.onScroll, { passive: true });
    this.observer.observe(this.scroller);
    this.observer.observe(this.list);
  }

  disconnected() {
    this.scroller.removeEventListener("scroll", this.onScroll);
    this.observer.disconnect();
  }

  followScroll() {
    if (this.scroller.clientHeight) {
      this.top = this.scroller.scrollTop;
    }
    if (this.firstInView() !== this.first) {
      this.redraw();
    }
  }

  measure() {
    if (!this.scroller.clientHeight) {
      return; // on a phone it is hidden while a session is open
    }
    this.height = this.scroller.clientHeight;
    this.rowHeight = this.list.offsetHeight / this.rows.length || this.rowHeight;
    this.scroller.scrollTop = this.top;
    this.redraw();
  }

  redraw() {
    const focused = document.activeElement;
    this.setValue(this.render());
    this.restoreFocus(focused);
  }

  show(key) {
    const index = this.rows.findIndex((row) => row.key === key);
    if (index < 0) {
      return null;
    }
    const top = index * this.rowHeight;
    if (top - this.rowHeight < this.top) {
      this.scrollTo(top - this.rowHeight);
    } else if (top + 2 * this.rowHeight > this.top + this.height) {
      this.scrollTo(top + 2 * this.rowHeight - this.height);
    }
    this.redraw();
    return Array.from(this.list.children).find((item) => item.dataset.key === key) ?? null;
  }
}

class PlacedAt extends Directive {
  render() {}

  update({ element }, [index]) {
    element.style.setProperty("--index", index);
  }
}

const placedAt = directive(PlacedAt);

/**
 * Render rows as the content of a list, whose parent scrolls.
 * @param {Row[]} rows the same array as long as they are the same
 * @param {(row: Row) => unknown} view the content of a row
 * @param {{size?: number, pinned?: string, onNearEnd?: () => void}} [options] how many rows count, -1 if that is not
 *   known; the row that stays in the document wherever one scrolls, since the focus is on it or comes to it with Tab;
 *   what to do when the last rows come into view
 */
export const windowed = directive(Windowed);

/** Scroll a row of a windowed list into view and return its `li`, null if there is none with this key. */
export function showRow(list, key) {
  return lists.get(list)?.show(key) ?? null;
}
