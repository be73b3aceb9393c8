/**
 * Which names a server holds to be the same (ISUPPORT `CASEMAPPING`). Folded names are for comparing and for
 * references; what is written to a server is a spelling that it has shown.
 */
export type CaseMapping = "ascii" | "rfc1459" | "strict-rfc1459" | "rfc7613";

/** Every name in use; `rfc8265` and `precis` are what later servers call the profile of RFC 7613. */
const NAMES: Readonly<Record<string, CaseMapping>> = {
  ascii: "ascii",
  rfc1459: "rfc1459",
  "strict-rfc1459": "strict-rfc1459",
  "rfc1459-strict": "strict-rfc1459",
  rfc7613: "rfc7613",
  rfc7700: "rfc7613",
  rfc8265: "rfc7613",
  rfc8266: "rfc7613",
  precis: "rfc7613",
};

/** A server that names none means `rfc1459`; one that is not known is read as `ascii`, which joins no two names. */
export function caseMappingOf(token: unknown): CaseMapping {
  if (token === undefined) return "rfc1459";
  const name = String(token).toLowerCase();
  return Object.hasOwn(NAMES, name) ? (NAMES[name] ?? "ascii") : "ascii";
}

/** The form in which names are compared. */
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
    case "strict-rfc1459":
      return foldAscii(name).replaceAll("[", "{").replaceAll("]", "}").replaceAll("\\", "|");
    case "rfc7613":
      return name.normalize("NFKC").toLowerCase();
  }
}

function foldAscii(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
