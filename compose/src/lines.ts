/**
 * Splits bytes into lines. Only a line feed ends a line. `node:readline` also splits at U+2028, which JSON
 * contains unescaped, and decodes before invalid UTF-8 could be detected.
 */

const LINE_FEED = 0x0a;

/** A longer line is cut off, so that a stream without line feeds does not fill the memory. */
export const MAX_LINE_BYTES = 16 * 1_048_576;

/**
 * Yields each line without its line feed; a line that is too long comes as undefined. The last needs no line
 * feed.
 */
export async function* linesOf(
  input: AsyncIterable<Uint8Array>,
  maxBytes = MAX_LINE_BYTES,
): AsyncGenerator<Uint8Array | undefined, void> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  const take = (): Uint8Array | undefined => {
    const line = bytes > maxBytes ? undefined : parts.length === 1 ? parts[0] : Buffer.concat(parts);
    parts = [];
    bytes = 0;
    return line;
  };
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      add(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    if (start < chunk.length) add(chunk.subarray(start));
  }
  if (bytes > 0) yield take();

  function add(part: Uint8Array): void {
    bytes += part.length;
    if (bytes <= maxBytes) parts.push(part);
    else parts = [];
  }
}
