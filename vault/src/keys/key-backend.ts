/**
 * The place of the key-encryption key. It wraps data keys and never leaves the backend.
 *
 * Obligations that each driver fulfils, and `keyBackendCases` proves:
 *
 * - The result of `wrap` opens with the same context and no other, also after a restart and after the
 *   backend's key was rotated. It does not open when one bit is changed or when it is cut.
 * - Wrapping the same key twice gives different bytes.
 * - `rewrap` moves to the newest key without changing the wrapped key.
 * - Authentication failures are reported at once and never retried.
 * - `health` never rejects, and reports a failure as soon as the backend cannot unwrap.
 */
export interface KeyBackend extends AsyncDisposable {
  /** Such as `file` or `pkcs11`; for people. */
  readonly kind: string;

  /**
   * @param key 16 to 64 bytes; the caller wipes it
   * @param context authenticated, not encrypted
   * @throws FabricError `vault.unavailable`
   */
  wrap(key: Uint8Array, context: Uint8Array): Promise<WrappedKey>;

  /**
   * @returns the key; the caller wipes it
   * @throws FabricError `vault.unavailable` when the backend does not answer, does not know the key id, or the
   *   bytes do not authenticate
   */
  unwrap(wrapped: WrappedKey, context: Uint8Array): Promise<Uint8Array>;

  /** Wraps the same key under the backend's newest one. @throws FabricError `vault.unavailable` */
  rewrap(wrapped: WrappedKey, context: Uint8Array): Promise<WrappedKey>;

  health(): Promise<KeyBackendHealth>;
}

export interface WrappedKey {
  /** The id of the backend's key that wrapped it. */
  readonly keyId: string;
  readonly bytes: Uint8Array;
}

export type KeyBackendHealth =
  | { readonly ok: true /** Key that `wrap` uses now. */; readonly keyId: string }
  | { readonly ok: false; readonly reason: string };
