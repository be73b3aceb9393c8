/** Credential fields by name; printing or serialising them shows nothing. */
export interface Secrets {
  /** Field names present, such as `password`. */
  readonly names: readonly string[];
  /** The bytes of one field; do not keep them. */
  get(name: string): Uint8Array | undefined;
}
