/**
 * The attackers, in a process of their own so that their work does not slow down who measures. Options come as JSON
 * in the first argument; the end of standard input ends it, and one line of JSON tells what was seen.
 */
import { once } from "node:events";
import { signerFromSeed } from "@linkspan/envelopes";
import { seededRandom } from "@linkspan/fabric";
import { HostileDaemon } from "./daemon.ts";
import { startHostileIrcServer } from "./irc-server.ts";
import { HostileTenant } from "./tenant.ts";

export interface AttackOptions {
  readonly seed: number;
  readonly url: string;
  readonly token: string;
  readonly amqpUrl: string;
  readonly signingSeed: string;
  readonly service: string;
  readonly instance: string;
  readonly foreign: { readonly identityId: string; readonly workspace: string; readonly mark: string };
}

export interface AttackReport {
  readonly requests: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
  readonly envelopes: number;
  readonly ircConnections: number;
}

if (import.meta.main) await attack(JSON.parse(process.argv[2] ?? "{}") as AttackOptions);

async function attack({ seed, signingSeed, ...options }: AttackOptions): Promise<void> {
  const random = seededRandom(seed);
  const stop = new AbortController();
  await using irc = await startHostileIrcServer(random);
  const common = { ...options, random, signal: stop.signal };
  const tenant = new HostileTenant({ ...common, ircPort: irc.port });
  const daemon = new HostileDaemon({ ...common, signer: signerFromSeed(Buffer.from(signingSeed, "hex")) });
  const running = Promise.all([tenant.run(), daemon.run()]);
  process.stdin.resume();
  await once(process.stdin, "end");
  stop.abort();
  const [{ statuses, faults }] = await running;
  const report: AttackReport = {
    requests: tenant.requests,
    statuses: Object.fromEntries(statuses),
    faults: faults.slice(0, 50),
    envelopes: daemon.published,
    ircConnections: irc.connections,
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
