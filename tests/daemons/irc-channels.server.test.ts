/** Channels and nicknames on servers that others wrote. */
import { expect, test } from "vitest";
import { Linked } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeOnServers, fresh, makeOperator } from "./irc-world.ts";

describeOnServers((world) => {
  test("joins, topics, nicknames, kicks and quits are events; a kick is reported", async () => {
    const { nick, other, third, room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    await makeOperator(world.server, room, other);
    await using carol = await IrcPeer.connect({ port: world.server.port, nick: third });
    await carol.join(room);
    carol.write(`NICK ${third}_`);
    peer.write(`MODE ${room} +n`, `TOPIC ${room} :about \x02this\x02`);
    await peer.settled();
    carol.write("QUIT :good night");
    await linked.sees("the quit", () => linked.texts(conversation, "membership").includes("quit"));
    peer.write(`KICK ${room} ${nick} :enough`);
    await linked.sees("the kick", () => linked.texts(conversation, "membership").includes("kick"));
    const changes = linked.host.events
      .filter(({ payload }) => payload.kind === "membership")
      .map(({ payload: { sender, text, native } }) => [sender.name, text, native?.["nick"] ?? ""]);
    expect(changes).toEqual([
      [nick, "join", ""],
      [third, "join", ""],
      [third, "nick", `${third}_`],
      [`${third}_`, "quit", ""],
      [other, "kick", nick],
    ]);
    expect(linked.texts(conversation, "channel")).toEqual(["about this"]);
    expect(linked.state?.message).toContain(`${other} kicked us from ${room} (enough)`);
    await expect(linked.say(conversation, "still here?")).rejects.toMatchObject({
      code: "platform.forbidden",
    });
    await peer[Symbol.asyncDispose]();
  });

  test("a taken nickname is worked around and taken back", async () => {
    const { nick, room } = fresh();
    const holder = await IrcPeer.connect({ port: world.server.port, nick });
    await holder.join(room);
    await using linked = await Linked.connected({
      port: world.server.port,
      nick,
      settings: { channels: [room] },
    });
    expect(linked.state?.message).toContain(`as ${nick}_, as ${nick} is taken`);
    await holder.sees(`${nick}_`, room);
    await holder[Symbol.asyncDispose]();
    await linked.sees("its nickname again", () => linked.connection.self?.name === nick);
  });

  test("channels are joined and left on request, and a refusal is a failure", async () => {
    const { nick, other, room, peer, linked } = await world.meet();
    await using _ = linked;
    const second = `${room}b`;
    await peer.join(second);
    const join = { action: "join_channel", conversation: undefined, payload: { channel: second } };
    await linked.act(join);
    await peer.sees(nick, second);
    await linked.say(linked.channel(second), "here too");
    await linked.act({ action: "leave_channel", conversation: undefined, payload: { channel: second } });
    await peer.until(() => !peer.wasThere(nick, second, performance.now()));
    await makeOperator(world.server, second, other);
    peer.write(`MODE ${second} +b ${nick}!*@*`);
    await peer.settled();
    await expect(linked.act(join)).rejects.toMatchObject({ code: "platform.forbidden" });
    await peer[Symbol.asyncDispose]();
  });
});
