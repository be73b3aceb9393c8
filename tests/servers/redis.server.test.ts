import { expect, test } from "vitest";
import { describeWithServers } from "./available.ts";
import { leftoversOf } from "./leftovers.ts";
import { redisSays, startRedis } from "./redis.ts";

describeWithServers(["redis"], "the Redis of the tests", () => {
  test("keeps accepted writes across SIGKILL, and leaves nothing behind", async () => {
    const server = await startRedis();
    expect(await redisSays(server.port, "SET k accepted")).toBe("+OK\r\n");
    await server.kill();
    await server.start();
    expect(await redisSays(server.port, "GET k")).toBe("$8\r\naccepted\r\n");
    expect(await leftoversOf(server)).toEqual([]);
  });
});
