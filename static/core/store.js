/**
 * The page's state: one object with a slice per feature. Views read it, models update it, and each update
 * renders the page once, before the next frame.
 */

const initial = {};
const state = {};
const listeners = new Set();
let notifying = false;

/**
 * Define a feature's slice of the state.
 * @param {string} name
 * @param {object | (() => object)} defaults what it is before anybody has logged in, and after each logout
 * @returns {{state: object, update: (changes: object) => void, reset: () => void}}
 */
export function createSlice(name, defaults) {
  initial[name] = typeof defaults === "function" ? defaults : () => ({ ...defaults });
  state[name] = initial[name]();
  return {
    get state() {
      return state[name];
    },
    update(changes) {
      state[name] = { ...state[name], ...changes };
      notify();
    },
    reset() {
      state[name] = initial[name]();
      notify();
    },
  };
}

/** Reset every slice, so that nothing of a user is left for the next one. */
export function resetState() {
  for (const name of Object.keys(initial)) {
    state[name] = initial[name]();
  }
  notify();
}

/** Call a listener after updates. */
export function subscribe(listener) {
  listeners.add(listener);
}

/** Call the listeners once, however many updates there are before the next microtask. */
function notify() {
  if (notifying) {
    return;
  }
  notifying = true;
  queueMicrotask(() => {
    notifying = false;
    listeners.forEach((listener) => listener());
  });
}
