import { inspect } from "node:util";

/**
 * Credential fields in plaintext. Prints, serialises and interpolates as `[secret]`. Dispose it (`using`):
 * then every byte is set to zero.
 */
export class Secret implements Disposable {
  readonly #fields: Map<string, Uint8Array>;

  /** @param fields owned by the secret from now on, and wiped with it */
  constructor(fields: Readonly<Record<string, Uint8Array>>) {
    this.#fields = new Map(Object.entries(fields));
  }

  /** Names of the fields; they are not secret. */
  get names(): readonly string[] {
    return [...this.#fields.keys()];
  }

  /** The bytes themselves, not a copy: they become zero when the secret is wiped. */
  get(name: string): Uint8Array | undefined {
    return this.#fields.get(name);
  }

  /** All fields, not copied. */
  reveal(): Readonly<Record<string, Uint8Array>> {
    return Object.fromEntries(this.#fields);
  }

  wipe(): void {
    for (const bytes of this.#fields.values()) bytes.fill(0);
    this.#fields.clear();
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [Symbol.toPrimitive](): string {
    return "[secret]";
  }

  [inspect.custom](): string {
    return "[secret]";
  }
}
