/**
 * Where the processor time of the way out goes, as a flame graph:
 *
 *   node tests/bench/profile.ts [intents] [file.svg]
 *
 * Each box is a function of this process, as wide as the share of time that it or what it called was running; idle time
 * is left out. Asynchronous code begins at the bottom again after each `await`.
 */
import { writeFile } from "node:fs/promises";
import type { Profiler } from "node:inspector";
import { Session } from "node:inspector/promises";
import { startPostgres } from "../servers/postgres.ts";
import { type CallNode, flameGraph } from "./flame-graph.ts";
import { embedded, openOutbound } from "./outbound.ts";

const count = Number(process.argv[2] ?? 1_000);
const file = process.argv[3] ?? "way-out.svg";

const postgres = await startPostgres();
try {
  await using world = await openOutbound(postgres, "profile", embedded());
  await world.run(count); // compiles, and fills the caches
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.start");
  const before = process.cpuUsage();
  const { rate } = await world.run(count);
  const { user, system } = process.cpuUsage(before);
  const { profile } = await session.post("Profiler.stop");
  const perIntentMs = (user + system) / 1_000 / count;
  await writeFile(file, flameGraph(treeOf(profile)));
  process.stdout.write(
    `${Math.round(rate)} intents/s, ${perIntentMs.toFixed(2)} ms of processor time each → ${file}\n`,
  );
} finally {
  await postgres[Symbol.asyncDispose]();
}

function treeOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): CallNode {
  const own = new Map<number, number>();
  for (const [at, id] of samples.entries()) own.set(id, (own.get(id) ?? 0) + (timeDeltas[at] ?? 0));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const callOf = (id: number): CallNode => {
    const node = byId.get(id);
    if (node === undefined) throw new Error("the profile names a function that it does not have");
    const { functionName, url } = node.callFrame;
    const isIdle = functionName === "(idle)" || functionName === "(program)";
    return {
      name: [functionName || "(anonymous)", url.split("/").slice(-2).join("/")].filter(Boolean).join(" "),
      ownTime: isIdle ? 0 : (own.get(id) ?? 0),
      calls: (node.children ?? []).map(callOf),
    };
  };
  return callOf(nodes[0]?.id ?? 0);
}
