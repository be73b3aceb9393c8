/** How long a line may be. */

/** RFC 1459: a line with its line end; tags are counted apart. */
export const MAX_LINE_BYTES = 512;
/** `:nick!user@host` as long as servers let it be: 30, 12 with a tilde, 64. */
export const SOURCE_BYTES = 1 + 30 + 1 + 12 + 1 + 64;
const LINE_END_BYTES = 2;

/** Room for the text of one line. The text, as the server relays it, then fits the 512 bytes of a line. */
export function textBytes(command: string, target: string): number {
  return MAX_LINE_BYTES - LINE_END_BYTES - SOURCE_BYTES - ` ${command}  :`.length - Buffer.byteLength(target);
}
