/** Offers and limits of a server: capabilities, channels in a line, places in a history, its clock. */
import { until } from "@linkspan/daemon-kit/contract";
import { expect, test } from "vitest";
import { Kept } from "./testing/kept.ts";
import { type ScriptedClient, ScriptedServer } from "./testing/scripted-server.ts";

const login = (line: string, client: ScriptedClient): boolean => {
  if (line === "AUTHENTICATE PLAIN") client.send("AUTHENTICATE +");
  else if (line.startsWith("AUTHENTICATE")) client.numeric("903", ":SASL authentication successful");
  return line.startsWith("AUTHENTICATE");
};
const asked = (line: string): string[] => line.slice("CAP REQ :".length).trim().split(" ");

test("one capability that is offered and refused does not take the others, nor the login", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["away-notify", "echo-message", "sasl=PLAIN", "server-time"],
    on: (line, client) => {
      if (login(line, client)) return true;
      if (!line.startsWith("CAP REQ")) return false;
      const verb = line.includes("away-notify") ? "NAK" : "ACK";
      client.send(`:irc.test.invalid CAP * ${verb} :${asked(line).join(" ")}`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port, secrets: { password: "sesame" } });
  expect(await kept.becomes("connected")).toBe("Connected to testnet as alice.");
  expect(server.client.lines.filter((line) => line === "AUTHENTICATE PLAIN")).toHaveLength(1);
  expect(server.client.lines.filter((line) => line === "CAP END")).toHaveLength(1);
});

test("capabilities are taken in several answers, and the login begins once", async () => {
  for (const order of [(caps: string[]) => caps, (caps: string[]) => caps.toReversed()]) {
    await using server = await ScriptedServer.listen({
      caps: ["sasl=PLAIN", "echo-message", "server-time"],
      on: (line, client) => {
        if (login(line, client)) return true;
        if (!line.startsWith("CAP REQ")) return false;
        for (const cap of order(asked(line))) client.send(`:irc.test.invalid CAP * ACK :${cap} `);
        return true;
      },
    });
    await using kept = await Kept.open({ port: server.port, secrets: { password: "sesame" } });
    expect(await kept.becomes("connected")).toBe("Connected to testnet as alice.");
    expect(server.client.lines.filter((line) => line === "AUTHENTICATE PLAIN")).toHaveLength(1);
  }
});

test("all capabilities refused: it goes on without them", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["server-time", "echo-message"],
    on: (line, client) => {
      if (!line.startsWith("CAP REQ")) return false;
      client.send(`:irc.test.invalid CAP * NAK :${asked(line).join(" ")}`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
});

test.each([
  ["echo-message", ["echo-message", "labeled-response", "batch", "message-tags"]],
  ["labeled-response", ["echo-message", "labeled-response", "batch", "message-tags"]],
])(
  "a server takes %s back while we are connected: what is said is confirmed all the same",
  async (gone, caps) => {
    const left = new Set(caps);
    await using server = await ScriptedServer.listen({
      caps,
      on: (line, client) => {
        const [, tags = "", said] = /^(?:@(\S+) )?(PRIVMSG .*)/.exec(line) ?? [];
        if (said === undefined) return false;
        const label = left.has("labeled-response") && tags.includes("label=") ? `@${tags} ` : "";
        if (left.has("echo-message")) client.send(`${label}:${client.mask} ${said}`);
        else if (label !== "") client.send(`${label}:irc.test.invalid ACK`);
        return true;
      },
    });
    await using kept = await Kept.open({ port: server.port });
    await kept.becomes("connected");
    await kept.say("before");
    left.delete(gone);
    server.client.send(`:irc.test.invalid CAP alice DEL :${gone}`, ":bob!b@h PRIVMSG #room :seen");
    await until("it has been read", () => kept.texts().includes("seen"));
    await kept.say("hello");
    expect(kept.texts()).toEqual(["seen"]);
  },
);

test("a server that takes one channel in a line is joined one by one", async () => {
  await using server = await ScriptedServer.listen({
    tokens: ["TARGMAX=JOIN:1,PART:1"],
    on: (line, client) => {
      // Channels after the first are dropped without an answer.
      if (!line.startsWith("JOIN ")) return false;
      client.send(`:${client.mask} JOIN ${(line.split(" ")[1] ?? "").split(",")[0]}`);
      return true;
    },
  });
  const settings = { channels: ["#room", "#club", "#hall"] };
  await using kept = await Kept.open({ port: server.port, settings });
  await kept.becomes("connected");
  const joins = server.client.lines.filter((line) => line.startsWith("JOIN "));
  expect(joins).toEqual(["JOIN #room", "JOIN #club", "JOIN #hall"]);
});

const HISTORY = ["batch", "server-time", "message-tags", "draft/chathistory"];
const at = (second: number) => `2026-11-20T11:34:${String(second).padStart(2, "0")}.000Z`;

test.each([
  ["timestamp", `CHATHISTORY AFTER #room timestamp=2026-11-20T11:33:50.000Z 2`, `timestamp=${at(2)}`],
  ["msgid", "CHATHISTORY LATEST #room * 2", "msgid=m2"],
  ["timestamp,msgid", `CHATHISTORY AFTER #room timestamp=2026-11-20T11:33:50.000Z 2`, `timestamp=${at(2)}`],
])("a history is asked for in the form that the server knows: %s", async (types, first, next) => {
  let pages = 0;
  await using server = await ScriptedServer.listen({
    caps: HISTORY,
    tokens: ["CHATHISTORY=2", `MSGREFTYPES=${types}`],
    on: (line, client) => {
      if (!/^CHATHISTORY (?:AFTER|LATEST) #room/.test(line)) return false;
      pages += 1;
      const batch = `h${pages}`;
      client.send(`BATCH +${batch} chathistory #room`);
      for (const second of pages === 1 ? [1, 2] : [3]) {
        client.send(`@batch=${batch};msgid=m${second};time=${at(second)} :bob!b@h PRIVMSG #room :${second}`);
      }
      client.send(`BATCH -${batch}`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port, checkpoint: { at: at(0), server_time: at(0) } });
  await until("all of it", () => kept.texts().includes("3"));
  expect(kept.texts()).toEqual(["1", "2", "3"]);
  const lines = server.client.lines.filter((line) => /^CHATHISTORY (?:AFTER|LATEST)/.test(line));
  expect(lines).toEqual([first, `CHATHISTORY AFTER #room ${next} 2`]);
});

test.each([
  ["a clock far ahead", "9999-12-31T23:59:59.000Z"],
  ["a message replayed from long ago", "2001-01-01T00:00:00.000Z"],
])("%s does not move the place where reading goes on", async (_, time) => {
  const asks: string[] = [];
  await using server = await ScriptedServer.listen({
    caps: HISTORY,
    on: (line, client) => {
      if (!line.startsWith("CHATHISTORY AFTER")) return false;
      asks.push(line);
      client.send("BATCH +h chathistory #room", "BATCH -h");
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  server.client.send(":bob!b@h PRIVMSG #room :now", `@time=${time} :bob!b@h PRIVMSG #room :odd`);
  await until("both", () => kept.texts().includes("odd"));
  server.client.drop();
  await until("it is asked for what was missed", () => asks.length > 0);
  const [, from = ""] = /timestamp=(\S+)/.exec(asks[0] ?? "") ?? [];
  expect(Math.abs(Date.parse(from) - Date.now())).toBeLessThan(3_600_000);
});

test("a part with a blank at its end is a part", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, settings: { membership: "all" } });
  await kept.becomes("connected");
  server.client.send(":bob!b@h PART #room ");
  await until("he is gone", () =>
    kept.host.events.some(({ payload }) => payload.text === "leave" && payload.sender.name === "bob"),
  );
});

test("a login is not said in clear to a server that asks for TLS", async () => {
  for (const caps of [
    ["sasl=PLAIN", "sts=port=6697"],
    ["sts=duration=1,port=6697", "sasl=PLAIN"],
  ]) {
    await using server = await ScriptedServer.listen({ caps, on: login });
    await using kept = await Kept.open({ port: server.port, secrets: { password: "sesame" } });
    expect(await kept.becomes("unknown_error")).toContain("asks for an encrypted connection on port 6697");
    expect(server.client.lines.some((line) => /^(?:AUTHENTICATE|CAP REQ)/.test(line))).toBe(false);
  }
});
