/**
 * Which server a network's name stands for. The name is part of every reference: two accounts of one workspace whose
 * servers have one name read the same channels and meet the same people. Whoever could give that name to a server of
 * their own could speak there as anybody. So a name that is known belongs to its own servers, and any other name
 * belongs, within a workspace, to the server of the accounts that are kept under it.
 */
import { FabricError } from "@linkspan/envelopes";
import { hostKey } from "./hosts.ts";

interface KnownNetwork {
  /** Where to connect when no host is given. */
  readonly host: string;
  /** Its servers are this name and all below it. */
  readonly domain: string;
}

/** Networks that need no host. */
const KNOWN: ReadonlyMap<string, KnownNetwork> = new Map([
  ["libera", { host: "irc.libera.chat", domain: "libera.chat" }],
  ["oftc", { host: "irc.oftc.net", domain: "oftc.net" }],
  ["hackint", { host: "irc.hackint.org", domain: "hackint.org" }],
  ["rizon", { host: "irc.rizon.net", domain: "rizon.net" }],
  ["efnet", { host: "irc.efnet.org", domain: "efnet.org" }],
  ["undernet", { host: "irc.undernet.org", domain: "undernet.org" }],
  ["quakenet", { host: "irc.quakenet.org", domain: "quakenet.org" }],
  ["snoonet", { host: "irc.snoonet.org", domain: "snoonet.org" }],
]);

export function defaultHost(network: string): string | undefined {
  return KNOWN.get(network)?.host;
}

/** An account and where it connects to. */
export interface Residence {
  readonly workspaceId: string;
  readonly network: string;
  readonly host: string;
}

export class Networks {
  /** By workspace and network: how many kept accounts connect to which host. */
  readonly #kept = new Map<string, Map<string, number>>();

  /** Counts an account that is kept. */
  keep({ workspaceId, network, host }: Residence): Disposable {
    const name = `${workspaceId} ${network}`;
    const key = hostKey(host);
    const hosts = this.#kept.get(name) ?? new Map<string, number>();
    this.#kept.set(name, hosts);
    hosts.set(key, (hosts.get(key) ?? 0) + 1);
    let isKept = true;
    return {
      [Symbol.dispose]: () => {
        if (!isKept) return;
        isKept = false;
        const rest = (hosts.get(key) ?? 1) - 1;
        if (rest > 0) hosts.set(key, rest);
        else hosts.delete(key);
        if (hosts.size === 0 && this.#kept.get(name) === hosts) this.#kept.delete(name);
      },
    };
  }

  /** Whether a new account may use the name for its server. @throws FabricError `request.invalid` */
  require({ workspaceId, network, host }: Residence): void {
    const key = hostKey(host);
    const known = KNOWN.get(network);
    if (known !== undefined) {
      if (key === known.domain || key.endsWith(`.${known.domain}`)) return;
      refuse(`host: it is no server of ${network}; give the network another name`);
    }
    const hosts = this.#kept.get(`${workspaceId} ${network}`);
    if (hosts === undefined || hosts.has(key)) return;
    refuse(
      `network: the workspace uses ${network} for another server; use the same host, or another name for the network`,
    );
  }
}

function refuse(detail: string): never {
  throw new FabricError("request.invalid", detail);
}
