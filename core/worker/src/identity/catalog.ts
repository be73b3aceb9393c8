/**
 * Which services can be linked, and which fields a person has to enter: as each connector announced it
 * (contract section 6). The core has no list of its own; a service whose daemon has announced nothing yet
 * cannot be linked yet.
 */
import {
  FabricError,
  type LinkDeclaration,
  isConnector,
  LinkDeclarationSchema,
  PRIMARY,
  SERVICES,
} from "@linkspan/envelopes";
import {
  type AuthSession,
  declarationOf,
  declarations,
  declarationsOf,
  type Declared,
  identityById,
  type InstanceKey,
  isServiceKnown,
  type Queryable,
} from "@linkspan/store";

export interface CatalogEntry extends LinkDeclaration {
  /** Service segment of the topics. */
  readonly service: string;
  /**
   * As the connector announced them; a capability that is too large to be shown with the others is left out.
   */
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/** Largest capabilities of one connector, bytes of JSON. */
const MAX_SHOWN_CAPABILITIES = 16_384;
const ASK_AGAIN_MS = 5_000;

/** Every service whose default instance announced what linking needs. */
export async function catalog(on: Queryable): Promise<CatalogEntry[]> {
  return (await declarations(on, PRIMARY)).flatMap((declared) => entryOf(declared) ?? []);
}

/**
 * The announcements of these instances' connectors. The form and the secrets of one instance are never used
 * for another instance.
 */
export class InstanceCatalog {
  readonly #entries: ReadonlyMap<string, CatalogEntry | undefined>;

  private constructor(declared: readonly Declared[]) {
    this.#entries = new Map(declared.map((one) => [nameOf(one), entryOf(one)]));
  }

  static async of(on: Queryable, keys: readonly InstanceKey[]): Promise<InstanceCatalog> {
    return new InstanceCatalog(await declarationsOf(on, keys));
  }

  entry(key: InstanceKey): CatalogEntry | undefined {
    return this.#entries.get(nameOf(key));
  }
}

/** The announcement of the connector that the session links with. */
export async function sessionEntry(on: Queryable, session: AuthSession): Promise<CatalogEntry | undefined> {
  const identity = await identityById(on, session.identity_id);
  return identity === undefined ? undefined : (await InstanceCatalog.of(on, [identity])).entry(identity);
}

/**
 * The declaration of an instance's connector.
 *
 * @throws FabricError `request.not_found` for an unknown service, `platform.unavailable` while nothing was
 *   announced
 */
export async function requireDeclaration(on: Queryable, key: InstanceKey): Promise<CatalogEntry> {
  const { service, instance } = key;
  const entry = entryOf({ ...key, declaration: (await declarationOf(on, key)) ?? {} });
  if (entry !== undefined) return entry;
  const isKnown = isConnector(service) && (SERVICES.includes(service) || (await isServiceKnown(on, service)));
  if (!isKnown) throw new FabricError("request.not_found", "no connector has this name");
  throw new FabricError(
    "platform.unavailable",
    `no ${service} daemon has announced itself as ${instance}; start one and try again`,
    { retryAfterMs: ASK_AGAIN_MS },
  );
}

function entryOf({ service, declaration }: Declared): CatalogEntry | undefined {
  const link = linkOf(declaration);
  if (link === undefined || !isConnector(service)) return undefined;
  return { ...link, service, capabilities: shownCapabilities(declaration) };
}

function shownCapabilities({ capabilities }: Record<string, unknown>): CatalogEntry["capabilities"] {
  if (typeof capabilities !== "object" || capabilities === null || Array.isArray(capabilities)) return {};
  const fits = Buffer.byteLength(JSON.stringify(capabilities)) <= MAX_SHOWN_CAPABILITIES;
  return fits ? (capabilities as Record<string, unknown>) : {};
}

function nameOf({ service, instance }: InstanceKey): string {
  return `${service} ${instance}`;
}

/** An announcement of another version that this version cannot read is ignored. */
function linkOf({ link }: Record<string, unknown>): LinkDeclaration | undefined {
  return LinkDeclarationSchema.safeParse(link).data;
}
