/**
 * Where the key-encryption key lives. It wraps data keys and never leaves the backend.
 *
 * Obligations that each driver fulfils, and `keyBackendCases` proves:
 *
 * - What `wrap` returns opens with the same context and no other, also after a restart and after the
 *   backend's key was rotated; altered by one bit, or cut, it does not open.
 * - Wrapping the same key twice gives different bytes.
 * - `rewrap` moves to the newest key without changing what is inside.
 * - Authentication failures are told at once and never retried.
 * - `health` never rejects, and says no as soon as the backend cannot unwrap.
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

  /** The same key under the backend's newest one. @throws FabricError `vault.unavailable` */
  rewrap(wrapped: WrappedKey, context: Uint8Array): Promise<WrappedKey>;

  health(): Promise<KeyBackendHealth>;
}

export interface WrappedKey {
  /** Which of the backend's keys wrapped it. */
  readonly keyId: string;
  readonly bytes: Uint8Array;
}

export type KeyBackendHealth =
  | { readonly ok: true /** Key that `wrap` uses now. */; readonly keyId: string }
  | { readonly ok: false; readonly reason: string };
