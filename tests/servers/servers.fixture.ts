/** Starts servers as a test does, says where they lie, and waits to be killed. */
import { startPostgres } from "./postgres.ts";
import { startRabbitmq } from "./rabbitmq.ts";
import { startRedis } from "./redis.ts";

const servers = await Promise.all([startPostgres(), startRabbitmq(), startRedis()]);
process.stdin.once("end", () => process.exit(1)).resume();
process.stdout.write(`${JSON.stringify(servers.map(({ directory }) => directory))}\n`);
