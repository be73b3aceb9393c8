/** The IRC connector on InspIRCd with fewer capabilities than it has, or with more that it is asked for. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Linked, openWindow } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { createAuthority } from "../servers/certificates.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { startInspircd } from "../servers/inspircd.ts";
import { fresh, SAMODE } from "./irc-world.ts";

describeWithServers(["inspircd"], "irc on inspircd with other capabilities", () => {
  const VARIANTS = [
    ["labels, without echoes", ["ircv3_echomessage"], /\.w\d+$/],
    ["echoes, without labels", ["ircv3_labeledresponse"], /~/],
    ["neither", ["ircv3_echomessage", "ircv3_labeledresponse"], /\.w\d+$/],
    ["neither ids nor tags", ["ircv3_msgid", "ircv3_labeledresponse", "ircv3_ctctags"], /\.w\d+$/],
  ] as const;

  for (const [what, without, id] of VARIANTS) {
    test(`a text is confirmed with ${what}`, async () => {
      await using server = await startInspircd({ without });
      const { nick, other, room } = fresh();
      await using peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      await using linked = await Linked.connected({
        port: server.port,
        nick,
        settings: { channels: [room] },
      });
      const conversation = linked.channel(room);
      const said = [];
      for (const text of ["one", "two", "three"]) said.push(...(await linked.say(conversation, text)));
      expect(said).toHaveLength(3);
      for (const { remoteId } of said) expect(remoteId).toMatch(id);
      expect(new Set(said.map(({ remoteId }) => remoteId)).size).toBe(3);
      await expect(linked.say(linked.query("nobodyhere"), "?")).rejects.toMatchObject({
        code: "platform.not_found",
      });
      await peer.until(() => peer.heardFrom(nick, room).length === 3);
      expect(peer.heardFrom(nick, room)).toEqual(["one", "two", "three"]);
      await peer.say(room, "marker");
      await linked.sees("the marker", () => linked.texts(conversation).includes("marker"));
      expect(linked.texts(conversation)).toEqual(["marker"]);
    });
  }

  test("what the server replays after an absence closes the gap, and nothing comes twice", async () => {
    await using server = await startInspircd({ config: SAMODE });
    await using proxy = await startFaultProxy({ port: server.port });
    const { nick, other, room } = fresh();
    await using peer = await IrcPeer.connect({ port: server.port, nick: other });
    await peer.join(room);
    await server.operator([`SAMODE ${room} +o ${other}`]);
    peer.write(`MODE ${room} +H 50:1h`);
    await peer.settled();
    await using linked = await Linked.connected({ port: proxy.port, nick, settings: { channels: [room] } });
    const conversation = linked.channel(room);
    await peer.sees(nick, room);
    await linked.say(conversation, "mine");
    await peer.say(room, "before 1", "before 2");
    await linked.sees("both", () => linked.texts(conversation).length === 2);
    proxy.refuse();
    await linked.becomes("transient_disconnect");
    await peer.until(() => !peer.wasThere(nick, room, performance.now()));
    await peer.say(room, "meanwhile 1", "meanwhile 2");
    await peer.settled();
    proxy.pass();
    await linked.becomes("connected");
    await peer.sees(nick, room);
    await peer.say(room, "after");
    await linked.sees("the last", () => linked.texts(conversation).includes("after"));
    expect(linked.texts(conversation)).toEqual([
      "before 1",
      "before 2",
      "meanwhile 1",
      "meanwhile 2",
      "after",
    ]);
    const ids = linked.host.events.map(({ payload }) => `${payload.kind} ${payload.remote_id}`);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("a client certificate of the vault is shown to the server", async () => {
    await using server = await startInspircd();
    const { nick, other } = fresh();
    const directory = mkdtempSync(join(tmpdir(), "linkspan-irc-"));
    const { cert, key } = await (await createAuthority(directory)).issue("client");
    rmSync(directory, { recursive: true });
    await using peer = await IrcPeer.connect({ port: server.port, nick: other });
    await using linked = await Linked.connected({
      port: server.tlsPort,
      nick,
      settings: { host: "localhost", tls: { ca: server.ca } },
      secrets: { certificate: Buffer.from(cert), certificate_key: Buffer.from(key) },
    });
    peer.write(`WHOIS ${nick}`);
    const about: string[] = [];
    await peer.expect((line) => {
      about.push(`${line.command} ${line.params.at(-1)}`);
      return line.command === "318";
    });
    const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(":", "").toLowerCase();
    expect(about.join("\n")).toContain(fingerprint);
    expect(linked.state?.state).toBe("connected");
  });

  test("a part is never begun outside of its window", async () => {
    await using server = await startInspircd();
    const { nick, room } = fresh();
    await using linked = await Linked.connected({ port: server.port, nick, settings: { channels: [room] } });
    const action = {
      action: "outbound_message",
      name: "outbound_message",
      conversation: linked.channel(room),
    };
    const [part] = linked.connection.plan({ ...action, payload: { text: "late" } });
    if (part === undefined) throw new Error("no part");
    await expect(linked.connection.perform(part, "k", openWindow(-1))).rejects.toMatchObject({
      code: "platform.unavailable",
    });
  });
});
