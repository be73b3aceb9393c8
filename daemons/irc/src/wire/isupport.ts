/**
 * The features of a server (ISUPPORT, numeric 005). Values are as it wrote them; tokens without a value, doubled, taken
 * back (`-NAME`) or not known do no harm.
 */
import { type CaseMapping, caseMappingOf } from "./casemapping.ts";

const MAX_TOKENS = 300;
/** Before a server has announced its own. */
const USUAL_PREFIXES = "~&@%+";
const USUAL_MODES = "qaohv";

export class Isupport {
  readonly #tokens = new Map<string, string>();

  /** Follows one 005: its parameters without our nickname and the words at the end. */
  see(tokens: readonly string[]): void {
    for (const token of tokens) {
      const [name = "", ...value] = token.split("=");
      const key = name.toUpperCase();
      if (key.startsWith("-")) this.#tokens.delete(key.slice(1));
      else if (this.#tokens.has(key) || this.#tokens.size < MAX_TOKENS) {
        this.#tokens.set(key, unescaped(value.join("=")));
      }
    }
  }

  /** Text, `""` where the token stands alone, undefined where the server does not name it. */
  token(name: string): string | undefined {
    return this.#tokens.get(name);
  }

  /** A positive number; undefined for anything else. */
  number(name: string): number | undefined {
    const value = this.token(name) ?? "";
    return /^[1-9]\d{0,8}$/.test(value) ? Number(value) : undefined;
  }

  /** A list with commas; undefined where the server does not give one. */
  list(name: string): readonly string[] | undefined {
    const items = (this.token(name) ?? "").split(",").filter((item) => item !== "");
    return items.length === 0 ? undefined : items;
  }

  /** How many targets one line of a command may name (`TARGMAX`); undefined where that has no bound. */
  maxTargets(command: string): number | undefined {
    const [, max = ""] =
      this.list("TARGMAX")
        ?.map((item) => item.split(":"))
        .find(([name]) => name?.toUpperCase() === command) ?? [];
    return /^[1-9]\d{0,3}$/.test(max) ? Number(max) : undefined;
  }

  get caseMapping(): CaseMapping {
    return caseMappingOf(this.token("CASEMAPPING"));
  }

  get channelTypes(): string {
    return this.token("CHANTYPES") || "#&";
  }

  get statusPrefixes(): string {
    return this.token("STATUSMSG") ?? "";
  }

  /** Symbols before nicknames in NAMES, such as `@+`; none where the server says that there are none. */
  get memberPrefixes(): string {
    const value = this.token("PREFIX");
    if (value === undefined) return USUAL_PREFIXES;
    return /^\([^)]*\)(.*)$/.exec(value)?.[1] ?? value;
  }

  /** Modes that give those symbols, such as `ov`. */
  get memberModes(): string {
    const value = this.token("PREFIX");
    return value === undefined ? USUAL_MODES : (/^\(([^)]*)\)/.exec(value)?.[1] ?? "");
  }

  /** Whether the server relays a client's tag of this name (`CLIENTTAGDENY`). */
  relaysTag(name: string): boolean {
    const denied = (this.token("CLIENTTAGDENY") ?? "").split(",");
    return denied.includes("*") ? denied.includes(`-${name}`) : !denied.includes(name);
  }
}

function unescaped(value: string): string {
  return value.replace(/\\x([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
