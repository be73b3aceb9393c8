/** Messages, both ways, on servers that others wrote, with a peer that shares no code with the connector. */
import { InboundEventSchema } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeOnServers, makeOperator } from "./irc-world.ts";

describeOnServers((world) => {
  test("who is named with the letters that servers fold is answered", async () => {
    const { linked, peer, folded } = await world.meet();
    await using _ = linked;
    await using odd = await IrcPeer.connect({ port: world.server.port, nick: folded });
    await odd.say(linked.connection.self?.name ?? "", "hello");
    await linked.sees("it", () => linked.host.texts().includes("hello"));
    const { conversation = "" } = linked.host.events.at(-1) ?? {};
    await linked.say(conversation, "hello yourself");
    await odd.until(() => odd.heard.some(({ text }) => text === "hello yourself"));
    await peer[Symbol.asyncDispose]();
  });

  test("formatting, actions and notices arrive as they were meant, both ways", async () => {
    const { nick, room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    await peer.say(room, "plain \x02bold\x02 \x1Ditalic\x1D \x0304red\x03 \x0301,01secret\x03");
    peer.write(`PRIVMSG ${room} :\x01ACTION waves\x01`, `NOTICE ${room} :look`);
    await linked.sees("three events", () => linked.texts(conversation).length === 3);
    const [formatted, action, notice] = linked.host.events
      .filter(({ payload }) => payload.kind === "message")
      .map(({ payload }) => InboundEventSchema.parse(payload));
    expect(formatted).toMatchObject({
      text: "plain bold italic red secret",
      entities: [
        { type: "bold", offset: 6, length: 4 },
        { type: "italic", offset: 11, length: 6 },
        { type: "spoiler", offset: 22, length: 6 },
      ],
    });
    expect(action).toMatchObject({ text: "waves", native: { ctcp: "ACTION" } });
    expect(notice).toMatchObject({ text: "look", native: { command: "NOTICE" } });

    const entities = [{ type: "bold", offset: 0, length: 4 }];
    await linked.say(conversation, "bold words", { entities });
    await linked.say(conversation, "/me nods");
    await peer.until(() => peer.heardFrom(nick, room).length === 2);
    expect(peer.heardFrom(nick, room)).toEqual(["\x02bold\x02 words", "\x01ACTION nods\x01"]);
    await peer[Symbol.asyncDispose]();
  });

  test("long and multi-line text arrives whole, no line cut by the server", async () => {
    const { nick, room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    const long = Array.from({ length: 80 }, (_, index) => `Füße ${index} 🌉`).join(" ");
    await linked.say(conversation, `first\n\nsecond\r\n${long}`);
    await peer.until(() => peer.heardFrom(nick, room).join("").endsWith("79 🌉"));
    const [first, second, ...rest] = peer.heardFrom(nick, room);
    expect([first, second]).toEqual(["first", "second"]);
    expect(rest.join("")).toBe(long);
    for (const { raw } of peer.lines) expect(Buffer.byteLength(`${raw}\r\n`)).toBeLessThanOrEqual(512);
    await peer[Symbol.asyncDispose]();
  });

  test("errors of the server are certain failures with a code", async () => {
    const { nick, room, other, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    await expect(linked.say(linked.query("nobodyhere"), "hello?")).rejects.toMatchObject({
      code: "platform.not_found",
    });
    await expect(linked.say(linked.channel("#nowhere"), "hello?")).rejects.toMatchObject({
      code: "platform.not_found",
    });
    await makeOperator(world.server, room, other);
    peer.write(`MODE ${room} +m`);
    await peer.settled();
    await expect(linked.say(conversation, "muted")).rejects.toMatchObject({ code: "platform.forbidden" });
    peer.write(`MODE ${room} -m`);
    await peer.settled();
    await linked.say(conversation, "heard again");
    await peer.until(() => peer.heardFrom(nick, room).includes("heard again"));
    expect(peer.heardFrom(nick, room)).toEqual(["heard again"]);
    await peer[Symbol.asyncDispose]();
  });

  test("a private query is a conversation of its account alone, both ways", async () => {
    const { nick, other, peer, linked } = await world.meet();
    await using _ = linked;
    await peer.say(nick, "between us");
    const query = linked.query(other);
    await linked.sees("the private message", () => linked.texts(query).includes("between us"));
    await linked.say(query, "of course");
    await peer.until(() => peer.heardFrom(nick, other).includes("of course"));
    await peer[Symbol.asyncDispose]();
  });

  test("no text, target, reply or reason can become another command", async () => {
    const { nick, room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    const evil = "a\r\nQUIT :b\nQUIT :c\rQUIT :d\0\r\nKICK\u0001DCC\u0001";
    await linked.say(conversation, evil, { reply_to: "x\r\nQUIT :e y;z" });
    await expect(linked.say(linked.query("x\r\nQUIT"), "f")).rejects.toMatchObject({
      code: "platform.not_found",
    });
    await expect(linked.say(linked.query("x,y"), "f")).rejects.toMatchObject({
      code: "platform.not_found",
    });
    const channels = ["#a\r\nQUIT", "#a b", "#a,#b", "0"];
    for (const channel of channels) {
      const action = { action: "join_channel", conversation: undefined, payload: { channel } };
      await expect(linked.act(action)).rejects.toMatchObject({ code: "platform.not_found" });
    }
    const leave = { channel: room, reason: "bye\r\nQUIT :g" };
    await linked.act({ action: "leave_channel", conversation: undefined, payload: leave });
    await peer.until(() => peer.presence.some((one) => one.nick === nick && one.change === "left"));
    await peer.settled();
    expect(peer.heardFrom(nick, room)).toEqual(["a", "QUIT :b", "QUIT :c", "QUIT :d", "KICKDCC"]);
    expect(peer.presence.filter((one) => one.nick === nick).map(({ how }) => how)).toEqual(["JOIN", "PART"]);
    expect(linked.state?.state).toBe("connected");
    await peer[Symbol.asyncDispose]();
  });

  test("a core that does not take events slows the server down; nothing is lost", async () => {
    const { room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    linked.host.hold();
    const said = Array.from({ length: 2_000 }, (_, index) => `number ${index}`);
    await peer.say(room, ...said);
    await linked.sees("the first", () => linked.texts(conversation).length > 0);
    expect(linked.host.mostUnresolved).toBe(1);
    linked.host.release();
    await linked.sees("all of them", () => linked.texts(conversation).length === said.length);
    expect(linked.texts(conversation)).toEqual(said);
    await peer[Symbol.asyncDispose]();
  });

  test("two thousand each way at once arrive once and in order", async () => {
    const { nick, room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    const texts = Array.from({ length: 2_000 }, (_text, index) => `number ${index}`);
    const saying = (async () => {
      for (const text of texts) await linked.say(conversation, text);
    })();
    for (let from = 0; from < texts.length; from += 100)
      await peer.say(room, ...texts.slice(from, from + 100));
    await saying;
    await linked.sees("all of the peer's", () => linked.texts(conversation).length >= texts.length);
    await peer.settled();
    expect(linked.texts(conversation)).toEqual(texts);
    expect(peer.heardFrom(nick, room)).toEqual(texts);
    await peer[Symbol.asyncDispose]();
  });
});
