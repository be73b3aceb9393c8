/**
 * What may be linked, and what a person is asked for: as each connector announced it (contract section 6). The core
 * has no list of its own; a service whose daemon has announced nothing yet cannot be linked yet.
 */
import {
  FabricError,
  type LinkDeclaration,
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
  type Queryable,
} from "@linkspan/store";

export interface CatalogEntry extends LinkDeclaration {
  /** Service segment of the topics. */
  readonly service: string;
}

/** Services of the fabric itself; nobody has an account there. */
const INTERNAL: ReadonlySet<string> = new Set(["core", "vault"]);
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

/** Whether the name is a service's, announced or not. */
export function isLinkable(service: string): boolean {
  return SERVICES.includes(service) && !INTERNAL.has(service);
}

/**
 * What the connector of an instance declared.
 *
 * @throws FabricError `request.not_found` for what is no service, `platform.unavailable` while nothing was announced
 */
export async function requireDeclaration(on: Queryable, key: InstanceKey): Promise<CatalogEntry> {
  const { service, instance } = key;
  if (!isLinkable(service)) throw new FabricError("request.not_found", `no connector is called ${service}`);
  const link = linkOf((await declarationOf(on, key)) ?? {});
  if (link !== undefined) return { ...link, service };
  throw new FabricError(
    "platform.unavailable",
    `no ${service} daemon has announced itself as ${instance}; start one and try again`,
    { retryAfterMs: ASK_AGAIN_MS },
  );
}

function entryOf({ service, declaration }: Declared): CatalogEntry | undefined {
  const link = linkOf(declaration);
  return link === undefined ? undefined : { ...link, service };
}

function nameOf({ service, instance }: InstanceKey): string {
  return `${service} ${instance}`;
}

/** What some other version announced, and this one cannot read, is as good as nothing. */
function linkOf({ link }: Record<string, unknown>): LinkDeclaration | undefined {
  return LinkDeclarationSchema.safeParse(link).data;
}
