/** Numbers and sizes as people read them. */

const number = new Intl.NumberFormat();
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const UNITS = ["bytes", "kB", "MB", "GB"];

/** Return "1 message" or "2,000 messages". */
export function countOf(count, one, many = `${one}s`) {
  return `${number.format(count)} ${count === 1 ? one : many}`;
}

/** Return "12,345" as the reader's language writes it. */
export function formatNumber(count) {
  return number.format(count);
}

/** Return "640 bytes", "1.5 kB" or "64 MB", with units of 1,024 as the server counts them. */
export function formatBytes(bytes) {
  const unit = bytes < 1_024 ? 0 : Math.min(Math.floor(Math.log(bytes) / Math.log(1_024)), UNITS.length - 1);
  return unit ? `${tenths.format(bytes / 1_024 ** unit)} ${UNITS[unit]}` : countOf(bytes, "byte");
}
