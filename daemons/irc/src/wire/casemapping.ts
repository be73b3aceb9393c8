/** Which names a server holds to be the same (ISUPPORT `CASEMAPPING`). */
export type CaseMapping = "ascii" | "rfc1459" | "rfc1459-strict" | "rfc7613";

const KNOWN: ReadonlySet<string> = new Set(["ascii", "rfc1459", "rfc1459-strict", "rfc7613"]);

/** A server that names none means `rfc1459`; one that is not known is read as `ascii`, which joins no two names. */
export function caseMappingOf(token: unknown): CaseMapping {
  if (token === undefined) return "rfc1459";
  const name = String(token).toLowerCase();
  return KNOWN.has(name) ? (name as CaseMapping) : "ascii";
}

/** The one spelling of a nickname or channel name. */
export function fold(name: string, mapping: CaseMapping): string {
  switch (mapping) {
    case "ascii":
      return foldAscii(name);
    case "rfc1459":
      return foldAscii(name)
        .replaceAll("[", "{")
        .replaceAll("]", "}")
        .replaceAll("\\", "|")
        .replaceAll("^", "~");
    case "rfc1459-strict":
      return foldAscii(name).replaceAll("[", "{").replaceAll("]", "}").replaceAll("\\", "|");
    case "rfc7613":
      return name.normalize("NFKC").toLowerCase();
  }
}

function foldAscii(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
