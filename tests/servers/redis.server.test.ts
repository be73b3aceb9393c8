import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { describeWithServers } from "./available.ts";
import { leftoversOf } from "./leftovers.ts";
import { startRedis } from "./redis.ts";

describeWithServers(["redis"], "the Redis of the tests", () => {
  test("keeps accepted writes across SIGKILL, and leaves nothing behind", async () => {
    const server = await startRedis();
    const before = new Redis(server.url, { retryStrategy: () => null });
    before.on("error", () => undefined); // the kill below
    expect(await before.set("k", "accepted")).toBe("OK");

    await server.kill();
    await server.start();

    const after = new Redis(server.url);
    expect(await after.get("k")).toBe("accepted");
    after.disconnect();
    before.disconnect();
    expect(await leftoversOf(server)).toEqual([]);
  });
});
