/**
 * What may be linked, and what a person is asked for: as each connector announced it (contract section 6). The core
 * has no list of its own; a service whose daemon has announced nothing yet cannot be linked yet.
 */
import { FabricError, type LinkDeclaration, LinkDeclarationSchema, SERVICES } from "@linkspan/envelopes";
import { declarationOf, declarations, type InstanceKey, type Queryable } from "@linkspan/store";

export interface CatalogEntry extends LinkDeclaration {
  /** Service segment of the topics. */
  readonly service: string;
}

/** Services of the fabric itself; nobody has an account there. */
const INTERNAL: ReadonlySet<string> = new Set(["core", "vault"]);
const ASK_AGAIN_MS = 5_000;

/** Every service that announced what linking needs. */
export async function catalog(on: Queryable): Promise<CatalogEntry[]> {
  const announced = await declarations(on);
  return announced.flatMap(({ service, declaration }) => {
    const link = linkOf(declaration);
    return link === undefined ? [] : [{ ...link, service }];
  });
}

export async function catalogEntry(on: Queryable, service: string): Promise<CatalogEntry | undefined> {
  return (await catalog(on)).find((entry) => entry.service === service);
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

/** What some other version announced, and this one cannot read, is as good as nothing. */
function linkOf({ link }: Record<string, unknown>): LinkDeclaration | undefined {
  return LinkDeclarationSchema.safeParse(link).data;
}
