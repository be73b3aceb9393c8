/**
 * What may be linked, and what a person is asked for: as each connector announced it (contract section 6). The core
 * has no list of its own; a service whose daemon has announced nothing yet cannot be linked yet.
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
  /** As it announced them; what is too large to be shown beside others is left out. */
  readonly capabilities: Readonly<Record<string, unknown>>;
}

/** Of one connector, bytes of JSON. */
const MAX_SHOWN_CAPABILITIES = 16_384;
const ASK_AGAIN_MS = 5_000;

/** Every service that announced what linking needs, as its default instance does. */
export async function catalog(on: Queryable): Promise<CatalogEntry[]> {
  return (await declarations(on, PRIMARY)).flatMap((declared) => entryOf(declared) ?? []);
}

/** What the connectors of these instances announced: a form and its secrets are never another instance's. */
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

/** What the connector announced that a session links at. */
export async function sessionEntry(on: Queryable, session: AuthSession): Promise<CatalogEntry | undefined> {
  const identity = await identityById(on, session.identity_id);
  return identity === undefined ? undefined : (await InstanceCatalog.of(on, [identity])).entry(identity);
}

/**
 * What the connector of an instance declared.
 *
 * @throws FabricError `request.not_found` for what is no service, `platform.unavailable` while nothing was announced
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

/** What some other version announced, and this one cannot read, is as good as nothing. */
function linkOf({ link }: Record<string, unknown>): LinkDeclaration | undefined {
  return LinkDeclarationSchema.safeParse(link).data;
}
