/** The kind: memory that grows with what a server sends, in a process that serves other people's connections too. */
import { systemClock } from "@linkspan/daemon-kit";
import { expect, test } from "vitest";
import type { Line } from "../inbound.ts";
import { type IrcClient, wantedCaps } from "../client.ts";
import { Backfill } from "./backfill.ts";
import { Batches, within } from "./batches.ts";
import { Channels } from "./channels.ts";
import { FloodGate } from "./flood-gate.ts";
import { Joins } from "./joins.ts";
import { LiveEvents } from "./live-events.ts";
import { Memory } from "./memory.ts";
import { Names } from "./names.ts";
import { oddityOf } from "./odd-lines.ts";
import { Spellings } from "./spellings.ts";
import { Timers } from "./timers.ts";
import { Writer } from "./writer.ts";

const line = (command: string, params: string[], nick = "eve", tags: Record<string, string> = {}): Line => ({
  tags,
  prefix: `${nick}!u@h`,
  nick,
  user: "u",
  host: "h",
  command,
  params,
});
const timers = new Timers(systemClock, (work) => work(), new AbortController().signal);
const names = new Names({
  identity: { workspaceId: "ws", identityId: "id" },
  network: "net",
  nick: "alice",
  server: { facts: { caseMapping: "ascii", channelTypes: "#", statusPrefixes: "" } },
  spellings: new Spellings(),
});
const memory = () =>
  new Memory({
    channels: [],
    keyOf: () => undefined,
    pace: { perSecond: 1, burst: 8 },
    checkpoint: undefined,
    identityId: "id",
    clock: systemClock,
  });
const joins = (written: string[], followForwards = false) =>
  new Joins({
    memory: memory(),
    write: (text) => void written.push(text),
    names,
    timers,
    followForwards,
    maxChannels: () => undefined,
    onNotice: () => undefined,
  });

test("channels that a server puts us into", () => {
  const channels = new Channels({ names, memberPrefixes: () => "@+" });
  for (let i = 0; i < 5_000; i++) channels.see(line("JOIN", [`#c${i}`], "alice"));
  expect(channels.names.length).toBe(1_000);
  for (let i = 0; i < 5_000; i++) channels.see(line("PART", [`#c${i}`], "alice"));
  channels.see(line("JOIN", ["#again"], "alice"));
  expect([channels.names, channels.members]).toEqual([["#again"], ["alice"]]);
});

test("members that a server names, and names it takes away again", () => {
  const channels = new Channels({ names, memberPrefixes: () => "@+" });
  channels.see(line("JOIN", ["#a"], "alice"));
  channels.see(line("JOIN", ["#b"], "alice"));
  const nicks = Array.from({ length: 150_000 }, (_, i) => `n${i}`).join(" ");
  channels.see(line("353", ["alice", "=", "#a", nicks]));
  expect(channels.members.length).toBe(99_999); // one is in both channels
  channels.see(line("353", ["alice", "=", "#b", "one two"]));
  expect(channels.of("one")).toEqual([]);
  // A member that leaves makes room: by QUIT, by KICK, with its channel, and a new nickname takes the place of the old one.
  channels.see(line("QUIT", [""], "n1"));
  channels.see(line("KICK", ["#a", "n2", ""]));
  channels.see(line("NICK", ["renamed"], "n3"));
  channels.see(line("353", ["alice", "=", "#b", "one two three"]));
  expect(["one", "two", "three", "renamed"].map((nick) => channels.of(nick))).toEqual([
    ["#b"],
    ["#b"],
    [],
    ["#a"],
  ]);
  channels.see(line("PART", ["#a"], "alice"));
  channels.see(line("353", ["alice", "=", "#b", "three"]));
  expect(channels.of("three")).toEqual(["#b"]);
});

test.each([
  ["a nickname", line("PRIVMSG", ["#a", "x"], "n".repeat(201))],
  ["a new nickname", line("NICK", ["n".repeat(201)])],
  ["a channel", line("JOIN", [`#${"c".repeat(200)}`])],
  ["one of several channels", line("JOIN", [`#a,#${"c".repeat(200)}`])],
  ["a channel with a topic", line("332", ["alice", `#${"c".repeat(200)}`, "x"])],
])("a line whose name nobody could use is skipped: %s", (_, long) => {
  expect(oddityOf(long)).toBe("a name is too long");
});

test("a line with the longest names in use, or with many of them, is served", () => {
  const many = Array.from({ length: 50 }, (_, i) => `#channel${i}`).join(",");
  expect(oddityOf(line("JOIN", [many]))).toBeUndefined();
  expect(oddityOf(line("JOIN", [`#${"c".repeat(199)}`], "n".repeat(200)))).toBeUndefined();
});

test("capabilities that a server offers for ever", () => {
  const wanted = wantedCaps(["sasl"]);
  const taken = Array.from({ length: 10_000 }, (_, i) => wanted(`c${i}`)).filter(Boolean);
  expect(taken.length).toBe(200);
  expect(["c0", "c199", "c200", "sasl"].map(wanted)).toEqual([true, true, false, false]);
});

test("batches within batches, of which the outer ones end", () => {
  const batches = new Batches();
  batches.see(line("BATCH", ["+b0", "outermost"]));
  for (let i = 1; i <= 10_000; i++) {
    batches.see(line("BATCH", [`+b${i}`, "x"], "eve", { batch: `b${i - 1}` }));
    batches.see(line("BATCH", [`-b${i - 1}`]));
  }
  let depth = 0;
  for (
    let at = batches.of(line("PRIVMSG", [], "eve", { batch: "b10000" }));
    at !== undefined;
    at = at.parent
  ) {
    depth += 1;
  }
  expect(depth).toBeLessThan(10);
  batches.see(line("BATCH", ["+c0", "chathistory"]));
  batches.see(line("BATCH", ["+c1", "netsplit"], "eve", { batch: "c0" }));
  const inner = batches.of(line("QUIT", [], "eve", { batch: "c1" }));
  expect(within(inner, /^chathistory$/)).toBeDefined();
});

test("topics of any number of channels", () => {
  const known = memory();
  const live = new LiveEvents({
    names,
    memory: known,
    membership: "all",
    emit: (events) => void (told += events.length),
    timers,
    splitMs: 1,
  });
  let told = 0;
  const tell = (channel: string, topic: string) =>
    live.take({
      line: line("332", ["alice", channel, topic]),
      seen: { connection: "c", line: 1, receivedAt: new Date() },
      batch: undefined,
      before: {} as never,
      shared: [],
    });
  for (let i = 0; i < 3_000; i++) tell(`#c${i}`, "x".repeat(10_000));
  expect(known.topics.size).toBe(1_000);
  expect(Math.max(...[...known.topics.values()].map((text) => text.length))).toBeLessThan(100);
  tell("#c2999", "x".repeat(10_000));
  expect(told).toBe(3_000);
  tell("#c2999", "another");
  expect(told).toBe(3_001);
});

test("channels that we are in without having asked, and forwards that lead from one to the next", () => {
  const written: string[] = [];
  using some = joins(written, true);
  for (let i = 0; i < 5_000; i++) some.see(line("JOIN", [`#c${i}`], "alice"));
  // Where we are, nothing is waited for; where we are not, a channel of ours is asked for.
  some.join({ name: "#own", key: undefined }).done.catch(() => undefined);
  some.see(line("JOIN", ["#own"], "alice"));
  expect(some.ready("#own")).toBeUndefined();
  const asked = some.join({ name: "#c4999", key: undefined });
  asked.done.catch(() => undefined);
  expect(asked.lines).toEqual(["JOIN #c4999"]);
  for (let i = 0; i < 1_000; i++) {
    const [from, to] = [i === 0 ? "#c4999" : `#f${i}`, `#f${i + 1}`];
    some.see(line("470", ["alice", from, to, "Forwarding to another channel"]));
  }
  expect(some.notices.filter((sentence) => sentence.includes("was joined instead")).length).toBe(10);
});

test("lines that a server makes us ask for", async () => {
  const over = new AbortController();
  // The gate's clock stands still while lines come in, so that none leaves meanwhile, however slow the machine is.
  let nowMs = 0;
  const gate = new FloodGate({ perSecond: 10_000, burst: 10_000 }, { monotonicMs: () => nowMs });
  const written: string[] = [];
  const isWritten = Promise.withResolvers<void>();
  const write = (text: string) => {
    written.push(text);
    isWritten.resolve();
  };
  gate.pass(10_000);
  const writer = new Writer(
    { write } as unknown as IrcClient,
    gate,
    new Timers(systemClock, (work) => work(), over.signal),
  );
  for (let i = 0; i < 20_000; i++) writer.soon(`CHATHISTORY ${i}`);
  expect(written).toEqual([]);
  nowMs += 1_000;
  await isWritten.promise;
  // There is room again: 5,000 lines were queued behind the one that the gate held back.
  writer.soon("last");
  expect(written).toEqual([...Array.from({ length: 5_001 }, (_, i) => `CHATHISTORY ${i}`), "last"]);
  over.abort();
});

test("lines of histories that are never ended, and histories that are asked for at once", async () => {
  const emitted: number[] = [];
  const backfill = new Backfill({
    write: () => undefined,
    emit: () => undefined,
    eventsOf: () => {
      emitted.push(1);
      return [];
    },
    timers,
    names,
    learn: () => true,
    seenUntil: undefined,
    pageSize: () => 100,
    references: () => ["msgid", "timestamp"],
  });
  const long = line("PRIVMSG", ["#a", "x".repeat(60_000)], "eve", { msgid: "m" });
  const seen = { connection: "c", line: 1, receivedAt: new Date() };
  for (let i = 0; i < 1_000; i++) backfill.collect(`#t${i % 10}`, long, seen);
  for (let i = 0; i < 10; i++) backfill.end(`#t${i}`);
  expect(emitted.length).toBeLessThan(300);
  // A wave that has ended makes room.
  backfill.collect("#t0", long, seen);
  backfill.end("#t0");
  expect(emitted.length).toBeGreaterThan(200);

  const fetches = Array.from({ length: 2_001 }, (_, i) => backfill.since(`#f${i}`, new Date(), 10));
  await expect(fetches.at(-1)).rejects.toThrow("too many histories");
  const others = Promise.allSettled(fetches);
  backfill.close();
  await others;
});
