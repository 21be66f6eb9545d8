/** Values that are computed again only when what they are made of has changed. */

/**
 * Return a function that remembers its last result.
 * @template {unknown[]} Values
 * @template Result
 * @param {(...values: Values) => Result} compute
 * @returns {(...values: Values) => Result}
 */
export function memoized(compute) {
  let last = null;
  let result;
  return (...values) => {
    if (!last || values.some((value, index) => value !== last[index])) {
      last = values;
      result = compute(...values);
    }
    return result;
  };
}
