import { channelRef, FabricError, identityRef } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import {
  type Capabilities,
  type Connection,
  type Connector,
  type IdentityHost,
  type LinkedIdentity,
  type Part,
  UncertainSend,
  type Window,
} from "../connector.ts";
import { CONNECTOR_CASES } from "./cases.ts";
import type { ConnectorFixture } from "./fixture.ts";

/** A small correct connector, and the effect of each way to break it. */
interface Breakage {
  readonly duplicates?: boolean;
  readonly reorders?: boolean;
  readonly ignoresBackpressure?: boolean;
  readonly plansAloud?: boolean;
  readonly saysTwice?: boolean;
  readonly cutsBytes?: boolean;
  readonly ignoresWindow?: boolean;
  readonly findsAnything?: boolean;
  readonly boasts?: boolean;
  readonly echoes?: boolean;
  readonly staysAway?: boolean;
  readonly staysOpen?: boolean;
  readonly letsAnybodyIn?: boolean;
  readonly letsErrorsOut?: boolean;
  readonly keepsSecretly?: boolean;
  readonly saysBeforeKept?: boolean;
  readonly saysUnkept?: boolean;
  readonly neverLoads?: boolean;
  readonly forgets?: boolean;
}

const LIMIT = 50;

const CAN: Capabilities = {
  send: ["text"],
  edit: false,
  delete: false,
  reaction: false,
  typing: false,
  read: false,
  history: false,
  roster: false,
  maxPartBytes: LIMIT,
  pace: { perSecond: 100, burst: 100 },
  entities: [],
};

class Platform {
  readonly listeners = new Set<(text: string, from: string) => void>();
  readonly droppers = new Set<() => void>();
  readonly heard: string[] = [];
  readonly said = new Map<string, string>();
  ids = 0;
}

function connectorOn(platform: Platform, broken: Breakage): Connector {
  return {
    service: "echo",
    capabilities: { ...CAN, rows: broken.keepsSecretly !== true },
    open: async (identity, host) => {
      if (host.secrets.get("password") !== undefined && broken.letsAnybodyIn !== true) {
        throw new FabricError("platform.auth_expired", "wrong");
      }
      const counted = broken.neverLoads === true ? 0 : count(await host.rows.load());
      return open(platform, broken, identity, host, broken.forgets === true ? 0 : counted);
    },
  };
}

/** How many parts were sent, as the last connection kept it: a row for each. */
function count(rows: ReadonlyMap<string, Uint8Array>): number {
  return rows.size;
}

function open(
  platform: Platform,
  broken: Breakage,
  identity: LinkedIdentity,
  host: IdentityHost,
  counted: number,
): Connection {
  let sent = counted;
  const keep = async () => {
    sent += 1;
    const name = broken.forgets === true ? `part ${sent} of ${Math.random()}` : `part ${sent}`;
    const changes = new Map<string, Uint8Array | undefined>([[name, Buffer.from("sent")]]);
    if (broken.forgets === true)
      for (const old of (await host.rows.load()).keys()) changes.set(old, undefined);
    const kept = host.rows.commit(changes);
    if (broken.saysBeforeKept === true) return;
    if (broken.saysUnkept === true) await kept.catch(() => undefined);
    else await kept;
  };
  let up = true;
  let chain = Promise.resolve();
  const held: (() => Promise<void>)[] = [];
  const report = (text: string, from: string) => {
    if (!up) return;
    platform.ids += 1;
    const event = {
      conversation: channelRef("acme", "echo", ["lobby"]),
      occurredAt: new Date(),
      payload: {
        kind: "message" as const,
        remote_id: `m${platform.ids}`,
        revision: "0",
        account: identity.identityId,
        sender: { ref: identityRef("echo", [from]), name: from, is_self: false },
        sent_at: new Date().toISOString(),
        text,
      },
    };
    const emit = () => host.event(event);
    if (broken.reorders === true && held.length === 0) {
      held.push(emit);
      return;
    }
    for (const each of [emit, ...held.splice(0), ...(broken.duplicates === true ? [emit] : [])]) {
      if (broken.ignoresBackpressure === true) void each();
      else if (broken.letsErrorsOut === true) chain = chain.then(each);
      else chain = chain.then(each).catch(() => drop());
    }
  };
  const drop = () => {
    up = false;
    host.state({ state: "transient_disconnect", message: "Cut off." });
    if (broken.staysAway === true) return;
    up = true;
    host.state({ state: "connected", message: "Back." });
  };
  platform.listeners.add(report);
  platform.droppers.add(drop);
  host.state({ state: "connected", message: "Up." });
  return {
    plan: ({ action, payload }) => {
      if (action !== "outbound_message" && broken.boasts !== true) {
        throw new FabricError("platform.unsupported", "no");
      }
      const text = String(payload.text ?? "");
      if (broken.plansAloud === true) platform.heard.push(text);
      return parts(text, broken.cutsBytes === true);
    },
    perform: async (part, key, window) => {
      if (!window.signal.aborted) await keep();
      return say(platform, broken, String(part.data), key, window, report);
    },
    find: async (_part, key) => {
      const id = platform.said.get(key) ?? (broken.findsAnything === true ? "anything" : undefined);
      return id === undefined ? undefined : { remoteId: id, at: new Date() };
    },
    [Symbol.asyncDispose]: async () => {
      if (broken.staysOpen === true) return;
      platform.listeners.delete(report);
      platform.droppers.delete(drop);
      up = false;
    },
  };
}

async function say(
  platform: Platform,
  broken: Breakage,
  text: string,
  key: string,
  window: Window,
  report: (text: string, from: string) => void,
) {
  if (window.signal.aborted && broken.ignoresWindow !== true) throw new UncertainSend("too late");
  platform.heard.push(text);
  if (broken.saysTwice === true) platform.heard.push(text);
  if (broken.echoes === true) report(text, "ada");
  platform.said.set(key, key);
  return { remoteId: key, at: new Date() };
}

function parts(text: string, inBytes: boolean): Part[] {
  const pieces: string[] = [""];
  const bytes = Buffer.from(text);
  if (inBytes) {
    pieces.pop();
    for (let at = 0; at < bytes.length || at === 0; at += LIMIT)
      pieces.push(bytes.toString("utf8", at, at + LIMIT));
  } else {
    for (const point of text) {
      const last = pieces.length - 1;
      if (Buffer.byteLength((pieces[last] ?? "") + point) > LIMIT) pieces.push(point);
      else pieces[last] += point;
    }
  }
  return pieces.map((data, index) => ({ index, data, cost: 1 }));
}

function fixture(broken: Breakage): ConnectorFixture {
  const platform = new Platform();
  return {
    connector: connectorOn(platform, broken),
    identity: {
      identityId: "id-1",
      workspaceId: "acme",
      userId: "ada",
      home: "primary",
      settings: {},
      checkpoint: undefined,
    },
    conversation: channelRef("acme", "echo", ["lobby"]),
    peer: {
      say: async (text) => {
        for (const listener of platform.listeners) listener(text, "bob");
      },
      heard: () => platform.heard,
      drop: async () => {
        for (const drop of platform.droppers) drop();
      },
    },
    refused: { secrets: { password: Buffer.from("wrong") } },
    patienceMs: 300,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function failures(broken: Breakage): Promise<string[]> {
  const failed: string[] = [];
  for (const each of CONNECTOR_CASES) {
    await using one = fixture(broken);
    await each.run(one).catch(() => failed.push(each.name));
  }
  return failed;
}

test("an honest connector passes every case", async () => {
  expect(await failures({})).toEqual([]);
});

const BREAKAGES: readonly (readonly [Breakage, RegExp])[] = [
  [{ duplicates: true }, /arrives as one valid event/],
  [{ reorders: true }, /in the order in which they were said/],
  [{ ignoresBackpressure: true }, /while an event is not taken/],
  [{ plansAloud: true }, /planning is repeatable and says nothing/],
  [{ saysTwice: true }, /heard once/],
  [{ cutsBytes: true }, /cut between code points/],
  [{ ignoresWindow: true }, /in a closed window nothing is said/],
  [{ findsAnything: true }, /nothing else is/],
  [{ boasts: true }, /capabilities are true/],
  [{ echoes: true }, /own words are never reported/],
  [{ staysAway: true }, /reported and mended/],
  [{ staysOpen: true }, /a closed connection reports nothing more/],
  [{ letsErrorsOut: true }, /let no error out of the connector/],
  [{ letsAnybodyIn: true }, /a login that the platform refuses/],
  [{ keepsSecretly: true }, /declares no durable rows keeps none/],
  [{ saysBeforeKept: true }, /nothing is said before they are kept/],
  [{ neverLoads: true }, /rows are loaded first/],
  [{ saysUnkept: true }, /what cannot be kept is not said/],
  [{ forgets: true }, /goes on with what was kept/],
];

test.each(BREAKAGES)("%o fails the case that is about it", async (broken, name) => {
  expect((await failures(broken)).join("\n")).toMatch(name);
});

test("every case is failed by some broken connector", async () => {
  for (const { name } of CONNECTOR_CASES)
    expect(
      BREAKAGES.some(([, about]) => about.test(name)),
      name,
    ).toBe(true);
});
