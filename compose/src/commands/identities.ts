/** `linkspan identities`, and how other commands find an identity by name. */
import { FabricError } from "@linkspan/envelopes";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";

export interface IdentityView {
  readonly id: string;
  readonly workspace_id: string;
  readonly user_id: string;
  readonly service: string;
  readonly name?: string;
  readonly state: string;
  readonly bridge_state: string;
  readonly bridge_detail: { readonly message?: string };
}

export async function identities(client: Client, out: Output, { user }: { user?: string }): Promise<void> {
  for (const one of await allIdentities(client, user === undefined ? {} : { user_id: user })) {
    const state = one.bridge_state === "connected" ? out.good(one.bridge_state) : out.bad(one.bridge_state);
    out.result(one, `${one.id}  ${one.service}  ${one.name ?? one.state}  ${one.user_id}  ${state}`);
  }
}

interface IdentityPage {
  readonly identities: readonly IdentityView[];
  readonly next_after?: string;
}

/** Reads page by page. */
async function allIdentities(
  client: Client,
  filter: Readonly<Record<string, string>>,
): Promise<IdentityView[]> {
  const all: IdentityView[] = [];
  for (let after: string | undefined = ""; after !== undefined; ) {
    const query = new URLSearchParams({ ...filter, ...(after !== "" && { after }) });
    const page: IdentityPage = await client.get(`/v1/identities?${query}`);
    all.push(...page.identities);
    after = page.next_after;
  }
  return all;
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws FabricError `request.not_found`, `request.invalid` when several have this name */
export async function identityCalled(client: Client, who: string): Promise<IdentityView> {
  if (ID.test(who)) return client.get<IdentityView>(`/v1/identities/${who}`);
  const all = await allIdentities(client, {});
  const found = all.filter(({ name, state }) => name === who && state === "linked");
  const [one, ...others] = found;
  if (one === undefined)
    throw new FabricError(
      "request.not_found",
      `nobody is linked as ${who}; linkspan identities lists ids and names`,
    );
  if (others.length === 0) return one;
  throw new FabricError("request.invalid", `${found.length} are called ${who}; give the id of one`);
}
