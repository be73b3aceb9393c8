/**
 * `npm run bench -- [--quick] [--json]`: what the fabric costs over the bare parts, measured in one run on one
 * machine. Fails when a ratio is below its floor. Absolute rates say more about the machine than about us.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Database } from "@linkspan/store";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { startRedis } from "../servers/redis.ts";
import { type Comparison, compare } from "./compare.ts";
import { inboundBench } from "./inbound.ts";
import { type Latency, latencies, line } from "./latency.ts";
import { outboundBench } from "./outbound.ts";
import { persistContest } from "./persist.ts";
import { transportContest } from "./transport.ts";
import { verifyContest } from "./verify.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    only: { type: "string" },
  },
});
const scale = values.quick ? 1 : 4;
const pairs = values.quick ? 5 : 9;

/** Each of these runs is a second long and more. */
const outboundPairs = values.quick ? 3 : 7;
/** Fewer end before the queues between the steps have filled. */
const OUTBOUND_COUNT = 1_000;

const [postgres, rabbitmq, redis] = await Promise.all([startPostgres(), startRabbitmq(), startRedis()]);
const results: Comparison[] = [];
let latency: readonly Latency[] = [];
let isLate = false;
try {
  const url = await postgres.createDatabase("bench");
  await using database = new Database(url);
  await using inbound = await inboundBench(rabbitmq, database, url, {
    batched: 4_000 * scale,
    naive: 1_000 * scale,
  });
  await using outbound = await outboundBench({ postgres, rabbitmq, redis }, OUTBOUND_COUNT);
  const contests = [
    transportContest(await rabbitmq.vhost("transport"), 4_000 * scale),
    await persistContest(database, 4_000 * scale),
    verifyContest(4_000 * scale),
    ...inbound.contests,
    ...outbound.contests,
  ];
  for (const contest of contests) {
    if (values.only !== undefined && contest.name !== values.only) continue;
    const isOutbound = outbound.contests.includes(contest);
    results.push(await compare(contest, isOutbound ? outboundPairs : pairs));
    if (!values.json) print(results.at(-1) as Comparison);
  }
  if (values.only === undefined || values.only === "latency") {
    const world = outbound.embedded;
    const halfLoad = (await world.run(250 * scale)).rate / 2;
    const { measured, ok } = await latencies(world, await rabbitmq.vhost("latency"), 250 * scale, halfLoad);
    latency = measured;
    isLate = !ok;
    if (!values.json) for (const one of measured) process.stdout.write(line(one));
  }
} finally {
  await Promise.all([postgres, rabbitmq, redis].map((server) => server[Symbol.asyncDispose]()));
}

const report = { at: new Date().toISOString(), quick: values.quick, results, latency };
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
else if (values.only === undefined) await keep(report);
if (isLate || results.some((result) => result.ratio < result.floor)) process.exitCode = 1;

function print({ name, ratio, floor, median, min, max, yardstick }: Comparison): void {
  const verdict = ratio >= floor ? "ok" : "BELOW ITS FLOOR";
  const rates = `${median}/s (${min}–${max}) against ${yardstick}/s`;
  process.stdout.write(`${name.padEnd(20)} ${ratio.toFixed(2)} × (floor ${floor})  ${rates}  ${verdict}\n`);
}

async function keep(kept: typeof report): Promise<void> {
  const folder = new URL("./results/", import.meta.url);
  await mkdir(folder, { recursive: true });
  await writeFile(new URL(`${kept.at.slice(0, 10)}.json`, folder), `${JSON.stringify(kept, undefined, 2)}\n`);
}
