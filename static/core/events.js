/** Server-sent events of a response to any method; EventSource can only GET, and sends no headers. */

/**
 * Yield the events of a stream, `{name, data}`, with the data parsed as JSON; a comment, which only says that the
 * connection is alive, is an event named "comment". Parley writes each event as one `event` and one `data` line, and
 * ends lines with LF.
 * @param {ReadableStream<Uint8Array>} stream
 */
export async function* readEvents(stream) {
  for await (const block of readBlocks(stream, "\n\n")) {
    const event = parseEvent(block);
    if (event) {
      yield event;
    }
  }
}

/** Yield what a stream of text has between separators; what follows the last one was cut off, and is dropped. */
async function* readBlocks(stream, separator) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const blocks = (rest + decoder.decode(value, { stream: true })).split(separator);
      rest = blocks.pop();
      yield* blocks;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  if (block.startsWith(":")) {
    return { name: "comment", data: null };
  }
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) {
      fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
  }
  return fields.event ? { name: fields.event, data: JSON.parse(fields.data) } : null;
}
