/**
 * Parses server-sent events (WHATWG HTML, section 9.2.6) from a body of bytes, whatever the chunk boundaries.
 */

export interface StreamEvent {
  /** The last id seen so far, of this event or an earlier one. */
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

/** Drops comments, blocks without data, and an event that the end of the stream cut off. */
export async function* parseEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent, void> {
  let id: string | undefined;
  let event = "";
  let data: string[] = [];
  for await (const line of textLines(body)) {
    if (line === "") {
      if (data.length > 0) yield { id, event: event === "" ? "message" : event, data: data.join("\n") };
      event = "";
      data = [];
      continue;
    }
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") data.push(value);
    else if (name === "event") event = value;
    else if (name === "id" && !value.includes("\0")) id = value;
  }
}

/** Lines end with CR, LF or both; a leading byte order mark is skipped. */
async function* textLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    // A CR at the end may be half of a CR LF whose LF has not arrived yet.
    const end = rest.endsWith("\r") ? rest.length - 1 : rest.length;
    const lines = rest.slice(0, end).split(/\r\n|\n|\r/);
    rest = (lines.pop() ?? "") + rest.slice(end);
    yield* lines;
  }
}
