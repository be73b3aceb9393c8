/**
 * Cuts a text into lines that a server relays whole.
 *
 * Every line carries its own codes: formatting ends with the line. A cut is made before a blank if there is one
 * in the later half (some servers take blanks off the end of a line), else between graphemes, and only within a
 * grapheme longer than the limit between code points. Nothing is added, and nothing is lost but blanks: those at its
 * end, and a run of them beside which nothing else fits, as no server relays a line of blanks. What the lines say, put
 * together, is the line of the text.
 */
import type { Entity } from "@linkspan/envelopes";
import { codesBetween, type Styles, stylesOf, withoutControls } from "./formatting.ts";

interface Piece {
  readonly text: string;
  readonly styles: Styles;
}

const LINE_END = /\r\n|[\r\n]/g;
/** Longest code point in UTF-8, and the most codes before one. */
const LEAST_BYTES = 32;

const graphemes = new Intl.Segmenter("und", { granularity: "grapheme" });

/**
 * @param maxBytes of one line with its codes; at least 32
 * @returns encoded lines; blank lines of the text are left out
 */
export function splitText(text: string, entities: readonly Entity[], maxBytes: number): string[] {
  if (maxBytes < LEAST_BYTES) throw new RangeError(`a line of ${maxBytes} bytes holds nothing`);
  const styles = entities.length === 0 ? undefined : stylesOf(text, entities);
  return linesOf(text).flatMap(({ from, to }) => {
    const line = text.slice(from, to);
    const said = withoutBlankEnd(withoutControls(line));
    if (said === "") return [];
    if (styles === undefined && Buffer.byteLength(said) <= maxBytes) return [said];
    const pieces = piecesOf(line, (at) => styles?.[from + at] ?? 0);
    const end = pieces.findLastIndex((piece) => !isBlank(piece.text)) + 1;
    return fill(pieces.slice(0, end), maxBytes);
  });
}

/** The beginning of a text that fits, cut between graphemes; nothing of one that is longer by itself. */
export function shortened(text: string, maxBytes: number): string {
  let [kept, bytes] = ["", 0];
  // A byte holds at most one code unit, so no more of the text is looked at.
  for (const { segment } of graphemes.segment(text.slice(0, maxBytes + 1).toWellFormed())) {
    bytes += Buffer.byteLength(segment);
    if (bytes > maxBytes) break;
    kept += segment;
  }
  return kept;
}

function linesOf(text: string): { from: number; to: number }[] {
  const lines: { from: number; to: number }[] = [];
  let from = 0;
  for (const { index, 0: end } of text.matchAll(LINE_END)) {
    lines.push({ from, to: index });
    from = index + end.length;
  }
  return [...lines, { from, to: text.length }];
}

/** Graphemes, cut where the style changes within one. */
function piecesOf(line: string, styleAt: (at: number) => Styles): Piece[] {
  const pieces: Piece[] = [];
  for (const { segment, index } of graphemes.segment(line)) {
    let at = index;
    let text = "";
    let styles = styleAt(index);
    for (const point of segment) {
      const own = styleAt(at);
      if (own !== styles) {
        pieces.push({ text, styles });
        [text, styles] = ["", own];
      }
      text += withoutControls(point);
      at += point.length;
    }
    pieces.push({ text, styles });
  }
  return pieces.filter(({ text }) => text !== "");
}

function fill(pieces: readonly Piece[], maxBytes: number): string[] {
  const lines: string[] = [];
  let line: Piece[] = [];
  let bytes = 0;
  const queue = [...pieces].reverse();
  for (let piece = queue.pop(); piece !== undefined; piece = queue.pop()) {
    const more = costAfter(line.at(-1), piece);
    if (bytes + more <= maxBytes) {
      line.push(piece);
      bytes += more;
    } else if (line.length === 0) {
      // Longer than a whole line by itself.
      queue.push(...[...piece.text].map((text) => ({ text, styles: piece.styles })).reverse());
    } else {
      queue.push(piece);
      const rest = line.splice(cutAt(line));
      // A line of blanks alone is none to a server.
      if (!line.every(({ text }) => isBlank(text))) lines.push(encode(line));
      queue.push(...rest.reverse());
      [line, bytes] = [[], 0];
    }
  }
  return line.length === 0 ? lines : [...lines, encode(line)];
}

/** How many pieces the line keeps: up to its last blank, if that is in the later half and not before all words. */
function cutAt(line: readonly Piece[]): number {
  const blank = line.findLastIndex(({ text }) => isBlank(text));
  const first = line.findIndex(({ text }) => !isBlank(text));
  return blank >= line.length / 2 && first < blank ? blank : line.length;
}

function withoutBlankEnd(line: string): string {
  let end = line.length;
  while (isBlank(line.charAt(end - 1))) end -= 1;
  return line.slice(0, end);
}

function isBlank(text: string): boolean {
  return text === " " || text === "\t";
}

function costAfter(before: Piece | undefined, { text, styles }: Piece): number {
  return codesBetween(before?.styles ?? 0, styles, text).length + Buffer.byteLength(text);
}

function encode(line: readonly Piece[]): string {
  let styles: Styles = 0;
  let encoded = "";
  for (const piece of line) {
    encoded += codesBetween(styles, piece.styles, piece.text) + piece.text;
    styles = piece.styles;
  }
  return encoded;
}
