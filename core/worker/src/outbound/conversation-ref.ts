/**
 * One conversation, one ref: what a backend asks for is written as the connector writes it, so that it has one lane, one
 * policy and one history, however the backend spells it.
 */
import { formatRef, parseRef } from "@linkspan/envelopes";
import type { Identity } from "@linkspan/store";

/**
 * @param ref a conversation of the identity's service
 * @param declared what the identity's instance announced; asked only when it matters
 * @returns it with the letters A to Z in lower case where the connector declared that they mean the same
 * @throws FabricError `envelope.schema` for what is no ref
 */
export async function oneRef(
  { id }: Pick<Identity, "id">,
  ref: string,
  declared: () => Promise<Readonly<Record<string, unknown>> | undefined>,
): Promise<string> {
  const parsed = parseRef(ref);
  if (parsed.kind !== "channel" || !parsed.remote.some((segment) => /[A-Z]/.test(segment))) return ref;
  const from = caselessFrom(await declared());
  if (from === undefined) return ref;
  const remote = parsed.remote.map((segment, index) =>
    // The segment that names the account is ours and stays.
    index < from || segment === `~${id}` ? segment : lowerCase(segment),
  );
  return formatRef({ ...parsed, remote });
}

/** What some other version declared, and this one cannot read, is as good as nothing. */
function caselessFrom(declaration: Readonly<Record<string, unknown>> | undefined): number | undefined {
  const capabilities = declaration?.["capabilities"];
  if (typeof capabilities !== "object" || capabilities === null) return undefined;
  const { caselessFrom: from } = capabilities as { readonly caselessFrom?: unknown };
  return typeof from === "number" && Number.isSafeInteger(from) && from >= 0 ? from : undefined;
}

function lowerCase(segment: string): string {
  return segment.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
