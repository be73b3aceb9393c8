/** Servers that others wrote, each with a room, a linked identity in it and a peer that shares no code with it. */
import { afterAll, beforeAll } from "vitest";
import { Linked } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { type InspircdServer, startInspircd } from "../servers/inspircd.ts";
import { type NgircdServer, startNgircd } from "../servers/ngircd.ts";

export type AnyServer = InspircdServer | NgircdServer;

export interface World {
  readonly server: AnyServer;
  /** A linked identity and a peer, both in a room of their own. */
  readonly meet: (settings?: Readonly<Record<string, unknown>>) => Promise<Meeting>;
}

export interface Meeting extends Fresh {
  readonly peer: IrcPeer;
  readonly linked: Linked;
  /** The room's. */
  readonly conversation: string;
}

export interface Fresh {
  readonly nick: string;
  readonly other: string;
  readonly third: string;
  /** A nickname of letters that servers fold. */
  readonly folded: string;
  readonly room: string;
}

/** InspIRCd's module that makes somebody the operator of a channel. */
export const SAMODE = '<module name="samode">';

const SERVERS = [
  ["inspircd", () => startInspircd({ config: SAMODE })],
  ["ngircd", () => startNgircd()],
] as const;

let count = 0;

/** Names of its own for every test, so that tests can share a server. */
export function fresh(): Fresh {
  count += 1;
  return {
    nick: `alice${count}`,
    other: `bob${count}`,
    third: `carol${count}`,
    folded: `bob^[${count}]`,
    room: `#room${count}`,
  };
}

/** A suite for each kind of server, on one server each. */
export function describeOnServers(define: (world: World, name: string) => void): void {
  for (const [name, start] of SERVERS) {
    describeWithServers([name], `irc on ${name}`, () => {
      let server: AnyServer;
      beforeAll(async () => {
        server = await start();
      });
      afterAll(async () => {
        await server[Symbol.asyncDispose]();
      });
      define(
        {
          get server() {
            return server;
          },
          meet: (settings) => meet(server, settings),
        },
        name,
      );
    });
  }
}

export async function makeOperator(server: AnyServer, room: string, nick: string): Promise<void> {
  // ngIRCd makes who comes first the operator of a channel; InspIRCd is told so here.
  if ("configure" in server) await server.operator([`SAMODE ${room} +o ${nick}`]);
}

async function meet({ port }: AnyServer, settings: Readonly<Record<string, unknown>> = {}): Promise<Meeting> {
  const names = fresh();
  const { nick, other, room } = names;
  const peer = await IrcPeer.connect({ port, nick: other });
  await peer.join(room);
  const linked = await Linked.connected({ port, nick, settings: { channels: [room], ...settings } });
  await peer.sees(nick, room);
  return { ...names, peer, linked, conversation: linked.channel(room) };
}
