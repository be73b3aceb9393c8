/**
 * The attempt that a ticket names, read without proving it: enough to say which publish is answered, when the
 * ticket itself cannot be opened. The envelope around it is the core's, so nobody else chose it.
 */
export function attemptNamed(compact: string | undefined): number {
  const [, payload = ""] = compact?.split(".") ?? [];
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
    const attempt = typeof claims === "object" && claims !== null && "attempt" in claims ? claims.attempt : 1;
    return Number.isSafeInteger(attempt) && (attempt as number) > 0 ? (attempt as number) : 1;
  } catch {
    // Not even JSON: an attempt without a number is the first.
    return 1;
  }
}
