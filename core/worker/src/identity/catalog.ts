/** What may be linked, and what a person is asked for. Served to clients as the bridge catalogue. */

export interface LinkField {
  readonly name: string;
  readonly label: string;
  readonly required: boolean;
  /** Kept in the vault, never in a row or an envelope. */
  readonly secret: boolean;
  readonly example?: string;
}

export interface CatalogEntry {
  /** Service segment of the topics. */
  readonly service: string;
  readonly name: string;
  readonly description: string;
  readonly fields: readonly LinkField[];
}

const text = (name: string, label: string, example?: string): LinkField => ({
  name,
  label,
  required: false,
  secret: false,
  ...(example !== undefined && { example }),
});
const required = (field: LinkField): LinkField => ({ ...field, required: true });
const secret = (name: string, label: string): LinkField => ({ name, label, required: false, secret: true });

export const CATALOG: readonly CatalogEntry[] = [
  {
    service: "irc",
    name: "IRC",
    description: "Any IRC network, one connection per linked account.",
    fields: [
      required(text("network", "Name of the network, as it appears in channel references", "libera")),
      required(text("host", "Server host", "irc.libera.chat")),
      text("port", "Server port; 6697 with TLS, 6667 without", "6697"),
      text("tls", "Encrypt the connection: true or false", "true"),
      required(text("nick", "Nickname", "alice")),
      text("channels", "Channels to join, separated by commas", "#linkspan,#help"),
      text("account", "Account name for SASL, when it differs from the nickname"),
      secret("password", "Account password (SASL or NickServ)"),
    ],
  },
  {
    service: "echo",
    name: "Echo",
    description: "A fake platform that answers everything; for trying things out and for tests.",
    fields: [text("nick", "Name to appear under", "echo"), secret("password", "Any password")],
  },
];

export function catalogEntry(service: string): CatalogEntry | undefined {
  return CATALOG.find((entry) => entry.service === service);
}

/** Contract section 8: by their names, wherever they appear. */
export function isSecretField(name: string): boolean {
  return /token|secret|password|session|key/i.test(name);
}
