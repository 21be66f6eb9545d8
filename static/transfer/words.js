/** What an import's report says, in words. */

/** What other programs have and a session does not, one and several; see `left_out` in the import's report. */
export const LEFT_OUT = {
  audio: ["recording", "recordings"],
  branches: ["message of another branch", "messages of other branches"],
  browsing: ["look at a web page", "looks at web pages"],
  citations: ["citation", "citations"],
  custom_instructions: ["custom instruction", "custom instructions"],
  empty_messages: ["message without text", "messages without text"],
  files: ["file", "files"],
  images: ["image", "images"],
  thoughts: ["thought", "thoughts"],
  title_characters: ["character of the title", "characters of the title"],
  tool_calls: ["tool call", "tool calls"],
};

const REFUSALS = {
  invalid_json: "This is not valid JSON.",
  unsupported_version: "Another version of Parley's format.",
  validation_error: "Something in it cannot be stored:",
};

/** Return why a conversation was refused. */
export function describeRefusal(code) {
  return REFUSALS[code] ?? `The server refused it: ${code}.`;
}
