/**
 * Names as others spell them. References hold folded names, but folding is for comparing: a server may know other
 * rules than it says, so what is written to it is the spelling that was seen.
 */
const MAX_SEEN = 5_000;
/** They go along in every cursor. */
const MAX_KEPT = 16;

export class Spellings {
  /** Folded name to the spelling seen last, where they differ. */
  readonly #seen = new Map<string, string>();
  /** Spellings of an earlier process, by which it cannot know how to fold them. */
  readonly #restored: readonly string[];
  #kept: readonly string[] | undefined;

  constructor(restored: readonly string[] = []) {
    this.#restored = restored.slice(-MAX_KEPT);
  }

  see(name: string, folded: string): void {
    const known = this.#seen.get(folded);
    if (known === name) return;
    if (isLost(name, folded) || (known !== undefined && isLost(known, folded))) this.#kept = undefined;
    this.#seen.delete(folded);
    if (name !== folded) this.#seen.set(folded, name);
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MAX_SEEN && oldest !== undefined) this.#seen.delete(oldest);
  }

  of(folded: string, fold: (name: string) => string): string {
    return this.#seen.get(folded) ?? this.#restored.find((name) => fold(name) === folded) ?? folded;
  }

  /** Spellings that another process needs: the newest of those that a server may not find by their folded name. */
  get kept(): readonly string[] {
    const lost = () =>
      [...this.#seen].filter(([folded, name]) => isLost(name, folded)).map(([, name]) => name);
    this.#kept ??= [...new Set([...this.#restored, ...lost()])].slice(-MAX_KEPT);
    return this.#kept;
  }
}

function isLost(name: string, folded: string): boolean {
  return name.toLowerCase() !== folded;
}
