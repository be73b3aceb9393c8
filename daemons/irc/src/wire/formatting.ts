/**
 * mIRC formatting codes and entities, both ways.
 *
 * IRC says styles by toggles in the text: 0x02 bold, 0x1D italic, 0x1F underline, 0x1E strike, 0x11 monospace,
 * 0x03 colour, 0x04 hex colour, 0x16 reverse, 0x0F reset. A spoiler is text in the colour of its ground; 99 is
 * the reader's own colour, which is never that of its ground. Colours and reverse have no entity and are left out.
 *
 * @see https://modern.ircdocs.horse/formatting
 */
import type { Entity } from "@linkspan/envelopes";

export type Style = "bold" | "italic" | "underline" | "strike" | "code" | "spoiler";
/** Styles of one character, as bits. */
export type Styles = number;

export interface Formatted {
  readonly text: string;
  /** By offset, then longest first; offsets in UTF-16 code units. */
  readonly entities: readonly Entity[];
}

const BITS = { bold: 1, italic: 2, underline: 4, strike: 8, code: 16, spoiler: 32 } as const;
const STYLES = Object.keys(BITS) as readonly Style[];
const TOGGLES: Readonly<Record<string, Styles>> = {
  "\x02": BITS.bold,
  "\x1D": BITS.italic,
  "\x1F": BITS.underline,
  "\x1E": BITS.strike,
  "\x11": BITS.code,
};
const CODE_OF = new Map(Object.entries(TOGGLES).map(([code, bit]) => [bit, code]));
const SPOILER_ON = "\x0301,01";
const COLOUR = /\x03(?:(\d{1,2})(?:,(\d{1,2}))?)?/y;
const HEX_COLOUR = /\x04(?:([0-9a-f]{6})(?:,([0-9a-f]{6}))?)?/iy;
/** C0 without tab: on the wire they are line ends, formatting, CTCP, or nothing. */
const CONTROL = /[\0-\x08\x0A-\x1F\x7F]/;
const CONTROLS = new RegExp(CONTROL, "g");

/** Reads codes. Every other control character but tab is dropped. */
export function readFormatting(raw: string): Formatted {
  if (!CONTROL.test(raw)) return { text: raw, entities: [] };
  let text = "";
  let styles: Styles = 0;
  let colours = NO_COLOURS;
  const spans = new Spans();
  for (let at = 0; at < raw.length; ) {
    const character = raw.charAt(at);
    const toggle = TOGGLES[character];
    const pattern = character === "\x03" ? COLOUR : character === "\x04" ? HEX_COLOUR : undefined;
    if (pattern !== undefined) {
      pattern.lastIndex = at;
      const [all = character, ink, ground] = pattern.exec(raw) ?? [];
      // A colour alone changes the ink and leaves the ground; a code alone takes both away.
      colours =
        ink === undefined
          ? NO_COLOURS
          : { ink: colour(ink), ground: ground === undefined ? colours.ground : colour(ground) };
      styles = isHidden(colours) ? styles | BITS.spoiler : styles & ~BITS.spoiler;
      at += all.length;
    } else if (toggle !== undefined) {
      styles ^= toggle;
      at += 1;
    } else {
      if (character === "\x0F") [styles, colours] = [0, NO_COLOURS];
      else if (!CONTROL.test(character)) text += character;
      at += 1;
    }
    spans.turn(styles, text.length);
  }
  return { text, entities: spans.end(text.length) };
}

interface Colours {
  /** Undefined: the reader's own. */
  readonly ink: string | undefined;
  readonly ground: string | undefined;
}

const NO_COLOURS: Colours = { ink: undefined, ground: undefined };
const OWN_COLOUR = "99";

function colour(code: string): string | undefined {
  const padded = code.padStart(2, "0").toLowerCase();
  return padded === OWN_COLOUR ? undefined : padded;
}

function isHidden({ ink, ground }: Colours): boolean {
  return ink !== undefined && ink === ground;
}

/** Text without what nobody may put into a line: every control character but tab. */
export function withoutControls(text: string): string {
  return text.replace(CONTROLS, "");
}

const MAX_QUOTED = 200;

/** A server's words, fit to stand in a sentence of ours. */
export function quoted(words: string): string {
  return withoutControls(words).trim().slice(0, MAX_QUOTED).toWellFormed();
}

/**
 * Styles of each UTF-16 code unit of `text`; entities that IRC has no code for leave no trace. Half a character has
 * no style of its own.
 */
export function stylesOf(text: string, entities: readonly Entity[]): Uint8Array {
  const styles = new Uint8Array(text.length);
  for (const { type, offset, length } of entities) {
    const bit = BITS[(type === "pre" ? "code" : type) as Style] as Styles | undefined;
    if (bit === undefined) continue;
    for (let at = offset; at < Math.min(offset + length, text.length); at += 1) {
      styles[at] = (styles[at] ?? 0) | bit;
    }
  }
  for (let at = 1; at < text.length; at += 1) {
    if (/[\uDC00-\uDFFF]/.test(text.charAt(at))) styles[at] = styles[at - 1] ?? 0;
  }
  return styles;
}

/** The codes that lead from one character's styles to the next character's. */
export function codesBetween(from: Styles, to: Styles, next: string): string {
  if (from === to) return "";
  let codes = "";
  for (const [bit, code] of CODE_OF) if ((from & bit) !== (to & bit)) codes += code;
  if ((from & BITS.spoiler) === (to & BITS.spoiler)) return codes;
  if ((to & BITS.spoiler) !== 0) return codes + SPOILER_ON;
  // A digit right behind would be read as a colour; an empty bold keeps them apart.
  return `${codes}\x03${/^\d/.test(next) ? "\x02\x02" : ""}`;
}

/** Turns a run of styles into entities. */
class Spans {
  readonly #entities: Entity[] = [];
  readonly #since = new Map<Style, number>();
  #styles: Styles = 0;

  turn(styles: Styles, at: number): void {
    if (styles === this.#styles) return;
    for (const type of STYLES) {
      const [was, is] = [this.#styles & BITS[type], styles & BITS[type]];
      if (was === is) continue;
      const since = this.#since.get(type);
      if (is !== 0) this.#since.set(type, at);
      else if (since !== undefined) this.#close(type, since, at);
    }
    this.#styles = styles;
  }

  end(at: number): Entity[] {
    this.turn(0, at);
    return this.#entities.sort((a, b) => a.offset - b.offset || b.length - a.length);
  }

  #close(type: Style, since: number, at: number): void {
    this.#since.delete(type);
    if (at === since) return;
    const before = this.#entities.findLast((entity) => entity.type === type);
    if (before !== undefined && before.offset + before.length === since) {
      this.#entities[this.#entities.indexOf(before)] = { ...before, length: at - before.offset };
    } else {
      this.#entities.push({ type, offset: since, length: at - since });
    }
  }
}
