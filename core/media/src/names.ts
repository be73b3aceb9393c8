/** Names of files, as people and other systems can take them. */

const MAX_NAME_BYTES = 200;
/** Longest ending that is kept when a name is cut, bytes. */
const MAX_ENDING_BYTES = 20;
const STANDARD = "file";
/** Control and format characters (among them those that turn the direction of text), separators of lines, private use. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const SEPARATOR = /[/\\\u2044\u2215\u29f8\uff0f\uff3c]/u;
/** Not allowed in names on Windows. */
const SPECIAL = /[<>:"|?*]/g;
const EDGES = /^[\s.]+|[\s.]+$/gu;
/** Devices on Windows, with or without an ending. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\s*\.|\s*$)/iu;

/**
 * A name that is safe in a directory, a header and a list: the last part of a path, without invisible characters.
 *
 * @returns 1 to 200 bytes of UTF-8
 */
export function cleanName(given: string | undefined): string {
  const visible = (given ?? "").toWellFormed().normalize("NFC").replace(INVISIBLE, "");
  const last = visible.split(SEPARATOR).at(-1) ?? "";
  const plain = shortened(last.replace(SPECIAL, "_").replace(EDGES, "")).replace(EDGES, "");
  if (plain === "") return STANDARD;
  return DEVICE.test(plain) ? `_${plain}` : plain;
}

function shortened(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes <= MAX_NAME_BYTES - 1) return name;
  const dot = name.lastIndexOf(".");
  const ending = dot > 0 && Buffer.byteLength(name.slice(dot)) <= MAX_ENDING_BYTES ? name.slice(dot) : "";
  const room = MAX_NAME_BYTES - 1 - Buffer.byteLength(ending);
  let kept = "";
  for (const character of name.slice(0, name.length - ending.length)) {
    if (Buffer.byteLength(kept) + Buffer.byteLength(character) > room) break;
    kept += character;
  }
  return kept + ending;
}
