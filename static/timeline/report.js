/**
 * The incident report: messages and webhook runs as Markdown (https://spec.commonmark.org/0.31.2), for a ticket.
 *
 * Whatever a text contains, it stays text: each is in a container that it cannot end, a block or a span of code whose
 * fence is longer than any run of its character in the text.
 */

import { formatDuration } from "../core/time.js";
import { excerpt } from "../core/text.js";
import { countOf } from "../core/words.js";

const ANSWER_CHARACTERS = 2_000;
const LINE_BREAKS = /[\s\u0085\u2028\u2029]+/g;

/**
 * Return a report.
 * @param {{title: string | null, url: string, username: string, rows: import("./rows.js").Row[], now: string}} report
 */
export function reportOf({ title, url, username, rows, now }) {
  const runs = rows.filter(({ kind }) => kind === "run").length;
  const blocks = [
    `# Incident report: ${title?.trim() ? codeSpan(title) : "untitled session"}`,
    [
      rows.length ? `- Time: ${formatUtc(rows[0].at)} to ${formatUtc(rows.at(-1).at)}` : "- Nothing is chosen.",
      `- ${countOf(rows.length - runs, "message")}, ${countOf(runs, "webhook run")}`,
      `- Session: <${url}>`,
      `- Written ${formatUtc(now)} by ${codeSpan(username)}`,
    ].join("\n"),
    ...rows.flatMap((row) => [
      ...(row.gap ? [`*${formatDuration(row.gap)} later*`] : []),
      ...(row.kind === "run" ? runBlocks(row.run) : messageBlocks(row.message, username)),
    ]),
  ];
  return `${blocks.join("\n\n")}\n`;
}

/** Return a block of code that a text cannot end; `info` is the language, a constant. */
function codeBlock(text, info = "") {
  const fence = "`".repeat(Math.max(3, longestRun(text) + 1));
  return `${fence}${info}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}

/** Return a span of code, on one line, that a text cannot end. */
function codeSpan(text) {
  const line = text.replace(LINE_BREAKS, " ").trim() || "(blank)";
  const fence = "`".repeat(longestRun(line) + 1);
  return line.includes("`") ? `${fence} ${line} ${fence}` : `${fence}${line}${fence}`;
}

/** Return a time as `2026-01-31 09:30:00 UTC`. */
function formatUtc(iso) {
  return `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function messageBlocks({ role, content, created_at: at, metadata }, username) {
  const who = {
    user: codeSpan(username),
    assistant: typeof metadata?.model === "string" ? `assistant (${codeSpan(metadata.model)})` : "assistant",
  };
  return [`## ${formatUtc(at)}: ${who[role] ?? "system"}`, codeBlock(content)];
}

function runBlocks({
  action,
  status,
  request,
  response_status: code,
  response_body: answer,
  error,
  started_at: at,
  duration_ms: duration,
}) {
  const { input } = request.data;
  const hasInput = Object.keys(input ?? {}).length > 0;
  const reason = [code && `HTTP ${Number(code)}`, error && codeSpan(String(error))].filter(Boolean).join(", ");
  const took = typeof duration === "number" ? `, after ${formatDuration(duration)}` : "";
  const shown = excerpt(answer ?? "", ANSWER_CHARACTERS);
  return [
    `## ${formatUtc(at)}: webhook ${codeSpan(action)}`,
    `Status: **${statusOf(status)}**${reason ? ` (${reason})` : ""}${took}`,
    ...(hasInput ? ["Input:", codeBlock(JSON.stringify(input, null, 2), "json")] : ["No input."]),
    ...(shown ? [shown === answer ? "Answer:" : "Answer, its beginning:", codeBlock(shown)] : ["No answer."]),
  ];
}

function statusOf(status) {
  return { interrupted: "unknown (interrupted)", unanswered: "unknown (no answer came)" }[status] ?? status;
}

function longestRun(text) {
  return Math.max(0, ...(text.match(/`+/g) ?? []).map(({ length }) => length));
}
