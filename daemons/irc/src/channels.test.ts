/** Being in channels: refusals that are told and asked anew, channels that forward, and keys that outlive a restart. */
import { until } from "@linkspan/daemon-kit/contract";
import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { Kept, ROOM } from "./testing/kept.ts";
import { type ScriptedClient, type ScriptOptions, ScriptedServer } from "./testing/scripted-server.ts";

const CLUB = ROOM.replace("room", "club");

const enter = (client: ScriptedClient, channel: string) => client.send(`:${client.mask} JOIN ${channel}`);

/** Answers JOINs of #club; anything else as usual. */
function club(answer: (client: ScriptedClient, line: string) => void): ScriptOptions {
  return {
    on: (line, client) => {
      if (!/^JOIN \S*#club/.test(line)) return false;
      for (const other of ["#room", "#lobby"]) if (line.includes(other)) enter(client, other);
      answer(client, line);
      return true;
    },
  };
}

test.each([
  ["479 alice #club :Illegal channel name", "platform.forbidden"],
  ["443 alice alice #club :is already on channel", "platform.forbidden"],
  ["437 alice #club :Nick/channel is temporarily unavailable", "platform.rate_limited"],
  ["485 alice #club :Cannot join channel (spam)", "platform.forbidden"],
  ["926 alice #club :Channel is forbidden", "platform.forbidden"],
  ["577 alice #club :Unheard of", "platform.forbidden"],
  ["461 alice JOIN :Not enough parameters", "platform.forbidden"],
  ["421 alice JOIN :Unknown command", "platform.unsupported"],
])("a JOIN that is answered by %s fails for certain, and slows nothing else down", async (numeric, code) => {
  await using server = await ScriptedServer.listen(club((client) => client.send(`:s ${numeric}`)));
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await expect(kept.act("join_channel", { channel: "#club" })).rejects.toMatchObject({ code });
  expect(kept.host.throttles).toEqual([]);
  await kept.say("and on");
});

test("too many joins at once is a limit of the identity", async () => {
  await using server = await ScriptedServer.listen(
    club((client) => client.numeric("500", "#club :Too many join requests. Please wait a while")),
  );
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await expect(kept.act("join_channel", { channel: "#club" })).rejects.toMatchObject({
    code: "platform.rate_limited",
  });
  expect(kept.host.throttles).toHaveLength(1);
});

test("after a refusal it is asked anew: the old answer is not given again", async () => {
  let isClosed = true;
  await using server = await ScriptedServer.listen(
    club((client) => {
      if (isClosed) client.numeric("473", "#club :Cannot join channel (+i)");
      else enter(client, "#club");
    }),
  );
  await using kept = await Kept.open({ port: server.port, settings: { channels: ["#club"] } });
  await kept.becomes("connected");
  await expect(kept.say("not yet", { conversation: CLUB })).rejects.toMatchObject({
    code: "platform.forbidden",
  });
  isClosed = false;
  await kept.say("let in", { conversation: CLUB });
  expect(server.client.lines.filter((line) => line.startsWith("PRIVMSG"))).toEqual(["PRIVMSG #club :let in"]);
});

test("a plain text to a channel whose join was asked for and refused is the server's to answer", async () => {
  await using server = await ScriptedServer.listen(
    club((client) => client.numeric("474", "#club :Cannot join channel (+b)")),
  );
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await expect(kept.act("join_channel", { channel: "#club" })).rejects.toMatchObject({
    code: "platform.forbidden",
  });
  await kept.say("from outside", { conversation: CLUB });
  expect(server.client.lines).toContain("PRIVMSG #club :from outside");
});

test("a join with a wrong key does not take the channel or its good key away", async () => {
  let isIn = false;
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (!line.startsWith("JOIN")) return false;
      if (line === "JOIN #club sesame" && isIn) enter(client, "#club");
      else client.numeric("475", "#club :Cannot join channel (+k)");
      return true;
    },
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { channels: ["#club"] },
    secrets: { "channel_key:#Club": "sesame" },
  });
  await kept.becomes("connected");
  await expect(kept.act("join_channel", { channel: "#club", key: "wrong" })).rejects.toMatchObject({
    code: "platform.forbidden",
  });
  isIn = true;
  await kept.say("with the good one", { conversation: CLUB });
  expect(kept.host.written).toEqual([]);
});

const forwarding = club((client) => {
  client.numeric("470", "#club #lobby :Forwarding to another channel");
  enter(client, "#lobby");
});

test("a channel that forwards is refused with both names, and where it sent us is left", async () => {
  await using server = await ScriptedServer.listen(forwarding);
  await using kept = await Kept.open({ port: server.port, settings: { channels: ["#room", "#club"] } });
  expect(await kept.becomes("connected")).toContain("#club cannot be joined: it forwards to #lobby");
  await until("it is left", () => server.client.lines.includes("PART #lobby"));
  server.client.send(`:${server.client.mask} PART #lobby`);
  await expect(kept.act("join_channel", { channel: "#club" })).rejects.toMatchObject({
    code: "platform.forbidden",
    message: "#club cannot be joined: it forwards to #lobby",
  });
});

test("a channel that forwards is followed where the setting says so, also after a restart", async () => {
  await using server = await ScriptedServer.listen(forwarding);
  const settings = { channels: ["#club"], followForwards: true };
  const kept = await Kept.open({ port: server.port, settings });
  expect(await kept.becomes("connected")).toContain("Connected to testnet as alice");
  await until("it is told", () =>
    kept.host.states.some(({ message }) => message.includes("#lobby, which was joined")),
  );
  const lobby = ROOM.replace("room", "lobby");
  await kept.say("here now", { conversation: lobby });
  server.client.send(":bob!b@h PRIVMSG #lobby :welcome");
  await until("it", () => kept.texts().includes("welcome"));
  expect(server.client.lines).not.toContain("PART #lobby");
  const checkpoint = kept.host.events.at(-1)?.payload.cursor;
  expect(checkpoint).toMatchObject({ joined: ["#lobby"], left: ["#club"] });
  await kept[Symbol.asyncDispose]();
  await using again = await Kept.open({ port: server.port, settings, checkpoint });
  await again.becomes("connected");
  expect(server.client.lines).toContain("JOIN #lobby");
});

test("a channel that forwards to one that is wanted anyway is not left", async () => {
  await using server = await ScriptedServer.listen(forwarding);
  await using kept = await Kept.open({ port: server.port, settings: { channels: ["#lobby", "#club"] } });
  await kept.becomes("connected");
  await kept.say("still here", { conversation: ROOM.replace("room", "lobby") });
  expect(server.client.lines).not.toContain("PART #lobby");
});

/** Lets in who knows the key. */
const locked: ScriptOptions = {
  on: (line, client) => {
    if (line.startsWith("PART")) client.send(`:${client.mask} ${line}`);
    if (!line.startsWith("JOIN #club") && !line.startsWith("JOIN #caf")) return line.startsWith("PART");
    const [, channel = "", key] = line.split(" ");
    if (key === "sesame") enter(client, channel);
    else client.numeric("475", `${channel} :Cannot join channel (+k)`);
    return true;
  },
};

test.each(["#club", "#café"])(
  "the key of a channel joined on request is kept in the vault: %s",
  async (channel) => {
    await using server = await ScriptedServer.listen(locked);
    const settings = { channels: ["#room"] };
    const kept = await Kept.open({ port: server.port, settings, secrets: { server_password: "open" } });
    await kept.becomes("connected");
    await expect(kept.act("join_channel", { channel, key: "wrong" })).rejects.toThrow();
    expect(kept.host.written).toEqual([]);
    await kept.act("join_channel", { channel, key: "sesame" });
    await until("the join", () => kept.texts("membership").length === 2);
    const [written = {}] = kept.host.written;
    expect(
      Object.values(written)
        .map((bytes) => Buffer.from(bytes).toString())
        .sort(),
    ).toEqual(["open", "sesame"]);
    const checkpoint = kept.host.events.at(-1)?.payload.cursor;
    expect(JSON.stringify([kept.host.events, kept.host.states])).not.toContain("sesame");
    await kept[Symbol.asyncDispose]();

    const secrets = Object.fromEntries(
      Object.entries(written).map(([name, one]) => [name, Buffer.from(one).toString()]),
    );
    await using again = await Kept.open({ port: server.port, settings, secrets, checkpoint });
    await again.becomes("connected");
    expect(server.client.lines).toContain(`JOIN ${channel},#room sesame`);
    await again.act("leave_channel", { channel });
    expect(again.host.written.map((fields) => Object.keys(fields))).toEqual([["server_password"]]);
  },
);

test("a key that the vault does not take is reported, and the channel is joined", async () => {
  await using server = await ScriptedServer.listen(locked);
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  kept.host.writeBack = () => Promise.reject(new FabricError("vault.unavailable", "sealed"));
  await kept.act("join_channel", { channel: "#club", key: "sesame" });
  expect(kept.host.states.at(-1)?.message).toContain("the key of #club could not be kept");
});

test("a key that operators change is the one of the next join, and is kept once", async () => {
  await using server = await ScriptedServer.listen({
    ...locked,
    tokens: ["CHANMODES=beI,k,lj,imnt", "PREFIX=(ov)@+"],
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { channels: ["#club"] },
    secrets: { "channel_key:#club": "sesame" },
  });
  await kept.becomes("connected");
  server.client.send(
    ":op!o@h MODE #other +k foreign",
    ":op!o@h MODE #CLUB -k sesame",
    ":op!o@h MODE #club +olkb bob 5 new-key *!*@spam",
    ":op!o@h MODE #club +v-l+j bob 3:4",
    ":op!o@h MODE #club +k *",
    ":op!o@h MODE #club +k :two words",
    ":op!o@h MODE #club",
    ":op!o@h MODE alice +i",
  );
  await kept.say("settled");
  server.client.drop();
  await until(
    "the next join",
    () => server.clients.length === 2 && server.client.lines.some((line) => line.startsWith("JOIN")),
  );
  expect(server.client.lines).toContain("JOIN #club new-key");
  expect(
    kept.host.written.map((fields) => Buffer.from(fields["channel_key:#club"] ?? []).toString()),
  ).toEqual(["new-key"]);
});

test("a channel that we are not in is left already", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line.startsWith("PART")) client.numeric("442", "#room :You're not on that channel");
      return line.startsWith("PART");
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await kept.act("leave_channel", { channel: "#room" });
});

test("own comings and goings are events whatever is set: joins, forced parts, kicks, every connection anew", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, settings: { membership: "none" } });
  await kept.becomes("connected");
  server.client.send(`:${server.client.mask} PART #room :forced by an operator`);
  await until("it is told", () => kept.host.states.at(-1)?.message.includes("taken out of #room") === true);
  enter(server.client, "#room");
  server.client.send(":op!o@h KICK #room ALICE :out", ":bob!b@h PART #room");
  enter(server.client, "#room");
  await until("all", () => kept.texts("membership").length === 5);
  const told = () =>
    kept.host.events
      .filter(({ payload }) => payload.kind === "membership")
      .map(({ payload: { text, sender, target } }) => [
        text,
        sender.is_self || target?.endsWith("/alice") === true,
      ]);
  expect(told()).toEqual(["join", "leave", "join", "kick", "join"].map((change) => [change, true]));
  server.client.drop();
  await until(
    "it is back",
    () => server.clients.length === 2 && kept.host.states.at(-1)?.state === "connected",
  );
  expect(kept.host.states.some(({ state }) => state === "transient_disconnect")).toBe(true);
});
