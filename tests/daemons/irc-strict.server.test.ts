/** The IRC connector on servers that are as strict as public ones. */
import { expect, test } from "vitest";
import { Linked } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { startInspircd } from "../servers/inspircd.ts";
import { startNgircd } from "../servers/ngircd.ts";
import { fresh } from "./irc-world.ts";

describeWithServers(["inspircd", "ngircd"], "irc on servers as strict as public ones", () => {
  for (const [name, start] of [
    ["inspircd", () => startInspircd({ strict: true })],
    ["ngircd", () => startNgircd({ strict: true })],
  ] as const) {
    test(`${name}: at the pace that is kept by default nobody is thrown out, and everything arrives`, async () => {
      await using server = await start();
      const { nick, other, room } = fresh();
      await using peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      const settings = { channels: [room], pace: undefined };
      await using linked = await Linked.connected({ port: server.port, nick, settings });
      await peer.sees(nick, room);
      const said = Array.from({ length: 7 }, (_, index) => `${index} ${"x".repeat(300)}`);
      for (const text of said) await linked.say(linked.channel(room), text);
      await peer.until(() => peer.heardFrom(nick, room).length === said.length);
      expect(peer.heardFrom(nick, room)).toEqual(said);
      expect(linked.host.states.map(({ state }) => state)).toEqual(["connecting", "connected"]);
    });

    test(`${name}: too many connections from one address is a sentence, and a long wait`, async () => {
      await using server = await start();
      const { nick } = fresh();
      const others = await Promise.all(
        Array.from({ length: name === "ngircd" ? 5 : 3 }, (_, index) =>
          IrcPeer.connect({ port: server.port, nick: `o${index}` }),
        ),
      );
      await using linked = await Linked.open({ port: server.port, nick });
      const refused = await linked.becomes("transient_disconnect");
      expect(refused.message).toContain("no more connections from this address");
      expect(refused.retryAt?.getTime()).toBeGreaterThan(Date.now() + 60_000);
      for (const each of others) await each[Symbol.asyncDispose]();
    });
  }
});
